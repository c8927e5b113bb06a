# %% [markdown]
# # 10. Epilogue: on many
#
# **Goal.** One network, several processes: what they have to tell each other, how the paper split
# its network over two graphics cards, and why a thousand of them do not train AlexNet a thousand
# times as fast.
#
# **You need** lessons 3 (gradients), 8 (training) and 9 (the network).
#
# **Time.** Some seconds, on two cores. **Files:** two figures and `numbers.json` in
# `runs/lessons/10_many`. Nothing has to be installed for it: the processes are played by threads
# of one process here. What would be different with real ones stands at the end of each section.

# %%
import kit  # finds the package next to lessons/, also without installing it

lesson = kit.Lesson("10_many")

# %%
import matplotlib.pyplot as plt
import numpy as np

import minitorch_alex as mt
from minitorch_alex import functional as F
from minitorch_alex import models, nn, profile, scaling
from minitorch_alex.comm import Threads, part
from minitorch_alex.models.alexnet import AlexNet, AlexNetConfig
from minitorch_alex.models.columns import columns
from minitorch_alex.plots.style import FAINT, INK
from minitorch_alex.plots.training import HELD_OUT, RUNS, TRAIN

# %% [markdown]
# ## 1. The sum of gradients
#
# A process of such a training is called a *rank*. They all have the same weights. Each takes a part
# of the batch, computes the gradient of its images, and then all need the gradient of the whole
# batch. The loss of a batch of $B$ images is a mean, so it is a sum of the ranks' own means, each
# with its share of the images:
#
# $$\frac1B \sum_{i=1}^{B} \text{loss}_i = \sum_r \frac{n_r}{B} \cdot \Bigl(\frac1{n_r}
# \sum_{i \text{ of rank } r} \text{loss}_i\Bigr).$$
#
# Gradients are linear, so the same holds for them. Eight images on two ranks are four and four. But
# a data set does not end on a multiple of the number of ranks; let the last batch have seven.

# %%
lesson.section("1. The sum of gradients")
lesson.predict(
    "Each rank averages over its own images, and the two averages are averaged. With 4 and 3 "
    "images, what comes out?",
    "the gradient of the batch",
    "nearly: the images of the smaller part count more",
    "half of it",
)


def small_net():
    """The same weights for everybody who calls it."""
    mt.manual_seed(lesson.seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 5)).astype(np.float64)


def gradient_of(net, images, labels, share=1.0):
    """The gradient of `share` times the mean loss, with respect to the weight."""
    net.zero_grad()
    F.cross_entropy(net(mt.Tensor(images)), labels).backward(gradient=np.float64(share))
    return net[1].weight.grad


rng = np.random.default_rng(1)
images = rng.standard_normal((7, 3, 8, 8))
labels = rng.integers(0, 5, 7)
whole = gradient_of(small_net(), images, labels)


def rank_of_average(comm):
    rows = part(len(images), comm.rank, comm.size)
    g = np.array(gradient_of(small_net(), images[rows], labels[rows]))
    return comm.sum(g) / comm.size


def rank_of_shares(comm):
    rows = part(len(images), comm.rank, comm.size)
    share = (rows.stop - rows.start) / len(images)
    g = np.array(gradient_of(small_net(), images[rows], labels[rows], share))
    return comm.sum(g)


rows = []
for name, body in (("average of averages", rank_of_average), ("shares n / B", rank_of_shares)):
    one, other = Threads(2).run(body)
    error = float(abs(one - whole).max() / abs(whole).max())
    rows.append([name, "yes" if np.array_equal(one, other) else "no", f"{error:.1e}"])
    lesson.number("average_error" if len(rows) == 1 else "shares_error", error)
lesson.table(["sum over two ranks", "same bits on both", "error against one process"], rows)
lesson.answer(
    "Each image of the part of 3 counts 1/6, each of the 4 counts 1/8; it should be 1/7 for all. "
    "Nothing looks wrong: the loss falls all the same. With shares the sum is the gradient of the "
    "batch, up to rounding."
)

# %% [markdown]
# So a rank begins its backward pass with $n_r / B$ instead of 1, and the sum is right for any cut.
# `comm.sum` is where the ranks meet: nobody gets past it before all have come. A rank that skips
# one, because its part was empty or because of an error, lets the others wait for ever.
#
# How much is sent? As many numbers as there are weights, whatever the batch: 244 MB for AlexNet in
# float32, at every step.
#
# **With real processes:** `mpiexec -n 2 python -m minitorch_alex.train ...` starts the same program
# twice. Each copy asks which one it is, takes its part, and `comm.sum` goes through MPI. No line of
# the training changes.
#
# ## 2. Two columns
#
# In 2012 the network was cut the other way. A graphics card had 3 GB, and the paper spread the
# *network* over two of them: half of the kernels on each, "and the GPUs communicate only in certain
# layers" (section 3.2). In lesson 2 this was a convolution with two groups. Now it is two ranks, and
# each has a plain convolution on half of the maps. Where a layer reads all maps, they are gathered
# first:

# %%
lesson.section("2. Two columns")
config = AlexNetConfig.cifar(channels=(8, 16, 16, 16, 8), hidden=(32, 32))
small_images = 64 * rng.standard_normal((4, 3, 32, 32))
small_labels = np.array([3, 1, 4, 1])


def whole_net():
    mt.manual_seed(lesson.seed)
    return AlexNet(config).astype(np.float64)


def step_of(net, share):
    mt.set_step(0)  # the same units are silent everywhere
    F.cross_entropy(net(mt.Tensor(small_images)), small_labels).backward(gradient=np.float64(share))
    return {name: np.array(p.grad) for name, p in net.named_parameters()}


def column(comm):
    net = columns(whole_net(), comm)
    gradients = step_of(net, 1 / comm.size)
    joined = {name: net.join(name, g) for name, g in gradients.items()}
    names = [name for name, _ in net.named_layers()]
    return joined, names, sum(p.size for p in net.parameters())


one_process = step_of(whole_net(), 1.0)
(joined, names, size), _ = Threads(2).run(column)
print("a column:", ", ".join(name for name in names if name.startswith(("conv", "fc", "gather"))))
difference = max(float(abs(joined[name] - g).max()) for name, g in one_process.items())
lesson.table(
    ["", "parameters", "largest difference of a gradient"],
    [["one process, groups", sum(g.size for g in one_process.values()), "-"],
     ["each of two columns", size, f"{lesson.number('columns_difference', difference):.0e}"]],
)

# %% [markdown]
# The backward pass of a gather is what makes this work, and it is the second exercise. Both columns
# go on with all maps, and both find a gradient for each. The maps that this rank gave have an
# influence on the other rank's layers too, so its gradient for them is the *sum* of both, cut down
# to its own part. (Both ranks compute the same loss at the end. To count it once, each starts with
# 1/2.)
#
# What crosses now are maps and features, for every image of the batch, and no gradients of weights
# at all.

# %%
alexnet = profile.layers_that_talk(models.build("alexnet", 1000))
lesson.predict(
    "Which crossing of the paper's net sends most: before conv3, fc6, fc7 or fc8?",
    "conv3: 128 maps of 13 x 13 from each card",
    "fc6: it has most of the weights",
    "fc7 and fc8 together",
)
sent = {layer.name: scaling.column_bytes([layer]) for layer in alexnet if layer.reads_all}
per_image = sum(sent.values())
lesson.table(
    ["before", "bytes an image, there and back", "share"],
    [[name, n_bytes, f"{n_bytes / per_image:.0%}"] for name, n_bytes in sent.items()]
    + [["in all", per_image, ""]],
)
gradients = scaling.gradient_bytes(alexnet)
lesson.number("column_bytes", per_image)
lesson.number("conv3_share", 100 * sent["conv3"] / per_image)
lesson.number("break_even", scaling.crossing(gradients, 0, per_image))
lesson.answer(
    "conv3, 71 %. Weights do not cross, so it does not matter that fc6 has 38 million of them. "
    "conv2, conv4 and conv5 have groups so that nothing has to cross there."
)

# %% [markdown]
# Data parallel, a step costs 244 MB; in columns 243 kB an image, so 31 MB with the paper's batch of
# 128. The two are equal at about a thousand images.

# %%
batches = np.geomspace(16, 16_384, 200)
hybrid_fixed, hybrid_image = scaling.hybrid_bytes(alexnet)
fig, ax = plt.subplots(figsize=(8, 3.6))
for name, sizes, colour in (
    ("data: gradients", np.full(200, gradients), TRAIN),
    ("columns: maps and features", batches * per_image, HELD_OUT),
    ("hybrid of 2014: gradients of conv, features", hybrid_fixed + batches * hybrid_image, RUNS[2]),
):
    ax.loglog(batches, sizes / 1e6, color=colour, lw=2, label=name)
ax.axvline(128, color=FAINT, zorder=0)
ax.annotate("the paper's 128", (128, 3_000), (4, 0), textcoords="offset points", color=INK,
            fontsize=9)
ax.set(xlabel="images in a batch", ylabel="MB in a step", title="What two ranks send")
ax.legend(frameon=False, fontsize=9)
lesson.show(fig, "bytes")

# %% [markdown]
# The third line is "one weird trick" (Krizhevsky 2014): the convolutions have 92 % of the work and
# 4 % of the weights, the fully connected layers the reverse. So cut only the latter, and let each
# rank have its own images in the former.
#
# **With real processes:** `mpiexec -n 2 python -m minitorch_alex.train -a alexnet --parallel
# columns`, or `--parallel hybrid`; with four ranks there are two pairs of columns, which share the
# batch. The checkpoint holds the whole network, so one process can go on with it.
#
# ## 3. Why the batch ends before the wire
#
# How many ranks pay? A message costs a latency and its bytes over a bandwidth; a step costs
# computing, and what is left to wait for. That is a model of ten lines
# (`minitorch_alex/scaling.py`), and it can be wrong by a lot: it knows no slow machine and no
# reading of images, and takes a GPU for as fast on one image as on a hundred. What it says is an
# upper bound. Let us give it eight GPUs a host with very good links, and an assumed 15,000 images
# per second each.

# %%
lesson.section("3. Why the batch ends before the wire")
lesson.predict(
    "A batch of 128, as in the paper, on 1, 2, 4, ... GPUs of today. On how many do they spend more "
    "time waiting than computing?",
    "16",
    "128",
    "1,024",
)
gpus = scaling.Machines(15_000, scaling.Link(5e-6, 400e9), scaling.Link(10e-6, 400e9), 8)
ranks = [2**k for k in range(11)]


def efficiency(batch, number):
    """Of the better of two kinds, with a batch shared by all."""
    return max(scaling.step_of(kind, alexnet, gpus, number, batch / number).efficiency
               for kind in ("data, overlapped", "hybrid"))


fig, ax = plt.subplots(figsize=(8, 3.6))
shades = ("#9fc3e6", "#5f9fd6", "#1f6fb4", "#123f6b")
for batch, colour in zip((128, 1_024, 8_192, 32_768), shades, strict=True):
    own = [number for number in ranks if number <= batch]
    ax.semilogx(own, [100 * efficiency(batch, number) for number in own], color=colour, lw=2,
                base=2, label=f"{batch:,}")
ax.set_xticks(ranks, [f"{number:,}" for number in ranks])
ax.set(xlabel="GPUs", ylabel="efficiency, %", ylim=(0, 103),
       title="One batch, shared by all: the model")
ax.legend(title="images in the batch", frameon=False, fontsize=9)
lesson.show(fig, "efficiency")

waiting = {batch: next((n for n in ranks if efficiency(batch, n) < 0.5), 0)
           for batch in (128, 1_024, 8_192)}
lesson.table(["batch", "waits more than it computes on"],
             [[batch, f"{number} GPUs"] for batch, number in waiting.items()])
lesson.number("waiting_128", waiting[128])
lesson.number("waiting_8192", waiting[8_192])
lesson.answer(
    "16: eight images each are computed in half a millisecond, and the sum takes longer than that. "
    "The faster a GPU, the more images it needs: one of 2012 took about half a second for 128."
)

# %% [markdown]
# So take a larger batch; nobody forbids it? The network does. A large batch takes fewer, better
# steps, and to get as far in as many epochs each step has to be longer: the rate grows with the
# batch, and at some point it is too large for the loss's curvature. For AlexNet as it is in the
# paper, with its local response normalisation, a rate in proportion to the batch is safe up to
# about 1,024 images; with 4,096 and 8,192 its accuracy fell from 57.6 to 53.1 and 44.8 % (You,
# Gitman and Ginsburg 2017, as quoted in notes on that paper). It took another normalisation, and a
# rate of its own for each layer, LARS, to train it with 32,768.
#
# That is what ends the race: not how fast gradients travel, but how many images may be in a step.
# `docs/scaling.md` has the numbers with their sources, and which of them were not checked.
#
# **With real processes:** `mpiexec -n 4 python -m minitorch_alex.profile alexnet --ranks` measures
# your links, and says what the model expects of them.
#
# ## Now you
#
# `lessons/exercises/10_many.py`, checked by `python -m minitorch_alex.check 10`:
#
# * **10.1** write `batch_gradient`: the gradient of a batch from those of its parts;
# * **10.2** write `gather_backward`: what comes back where two columns meet.
#
# ## Where this is in the package
#
# * `minitorch_alex/comm/`: `Comm`, over MPI, NCCL or threads; `parallel.py`: the sum of gradients
# * `minitorch_alex/functional/exchange.py`: gather and its adjoint; `models/columns.py`: two
#   columns and the hybrid
# * `minitorch_alex/scaling.py`: the model; `lars.py`: a rate for each layer

# %%
lesson.done()
