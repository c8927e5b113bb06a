"""Mistakes in training on several ranks."""
from . import Mutant

MUTANTS = (
    Mutant("share-forgotten", "every rank starts from its whole loss: the gradient is as many times too large",
           "parallel:DataParallel.add", "dtype.type(share)", "dtype.type(1)", "check_data_parallel"),
    Mutant("mean-of-means", "the ranks' means are averaged, though one rank has fewer images",
           "parallel:DataParallel.add", "dtype.type(share)", "dtype.type(1 / self.comm.size)", "check_data_parallel"),
    Mutant("same-mask-on-all-ranks", "dropout counts images from the rank's own first one",
           "streams:set_step", "set_first_image(first_image)", "set_first_image(0)", "check_data_parallel"),
    Mutant("update-without-the-sum", "each rank updates its part with its own gradient",
           "parallel:DataParallel.update", "self.comm.scatter_sum(whole, out=whole[self._own(self.buckets[0])])",
           "pass", "check_data_parallel"),
    Mutant("weights-not-gathered", "a rank keeps the old weights of the others' parts",
           "parallel:DataParallel.update", "self._gather(optimizer.flat)", "pass", "check_data_parallel"),
    Mutant("sums-from-left-to-right", "inside of a rank, pieces are added one after the other and not by the tree",
           "parallel:DataParallel._add_up", "while self._sums and self._sums[-1][0] == count", "while self._sums",
           "check_data_parallel"),
    Mutant("parts-dealt-like-cards", "a rank has every P-th image, and its sums and masks count a stretch of them",
           "data.loader:Loader._own", "slice(n * r // P, n * (r + 1) // P)", "slice(r, n, P)",
           "check_parts_of_batches"),
)
