// What the kernel files share. launch.py puts this text in front of them and compiles the whole
// once for float, once for double (-DFLOAT=double), and conv.cu once more for numbers of half
// precision.
//
// A CUDA kernel is a function that thousands of threads run at once, each with its own blockIdx
// and threadIdx. All kernels here keep to four rules:
//
//   Gather.       A thread owns places of the *output* and fetches what belongs there from the
//                 inputs. In the scatter form (each input adds itself to the outputs it touches)
//                 two threads could add to one place at once. That takes atomic additions, whose
//                 order, and so whose rounding, differs from run to run. Gathering needs no
//                 atomics, writes each place once, and gives the same bits every time.
//   Grid-stride.  EACH and LINES step by the size of the launch, so any launch, however small,
//                 does all of the work. (A kernel without LINES is launched in one row: a second
//                 row would do everything again.)
//   Neighbours.   Consecutive threads own consecutive channels (memory is NHWC): 32 threads that
//                 run together then read and write 32 adjacent numbers, which memory serves in one
//                 go.
//   Plain C.      No shared memory, no communication between threads: the same text runs on a CPU,
//                 one thread after the other, and that is how tests/test_cuda.py tests it without
//                 a GPU.
//
// `#pragma unroll N` copies the body of a loop N times, so that its reads overlap. N is a power of
// two everywhere here. Told to unroll by 5 a loop from a maximum to a minimum (LRN's window, cut
// off at the edges), nvcc 13.0 left out the iterations after the last full five and read past the
// end of the array. It gave no warning, and only a test on a GPU showed it.
//
// Letters: N batch, H W C input, OH OW O output, K S P D kernel, stride, padding, dilation (with H
// for rows and W for columns, as in KH, KW). Arrays hold fewer than 2^31 elements (launch.py
// checks), so that an int counts them.
// A number of half precision: half.cu makes it, im2col moves it, cuBLAS reads it.
typedef unsigned short half_bits;

#ifndef FLOAT
#define FLOAT float
#endif

// Arrays that a kernel reads and writes. __restrict__ promises that they do not overlap, so that
// the compiler may fetch the next numbers before the last ones are stored.
#define IN(type) const type *__restrict__
#define OUT(type) type *__restrict__

// All i in 0..n-1, shared among the threads of a row of the launch.
#define EACH(i, n) \
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += gridDim.x * blockDim.x)

// All i in 0..n-1, shared among the rows of the launch. Used inside EACH: what depends on the
// column alone is then worked out once and serves many lines; integer divisions cost as much as a
// read from memory.
#define LINES(i, n) for (int i = blockIdx.y; i < (n); i += gridDim.y)

// Which windows o cover cell i of an axis: o S - P + k D = i for some tap k, so o lies between
// these two.
__device__ inline int first_window(int i, int K, int S, int P, int D)
{
    int reach = i + P - (K - 1) * D;
    return reach > 0 ? (reach + S - 1) / S : 0;
}

__device__ inline int last_window(int i, int S, int P, int O)
{
    int reach = (i + P) / S;
    return reach < O ? reach : O - 1;
}

// The tap of window o that lies on cell i, or -1 where a dilated window jumps over the cell.
__device__ inline int tap_at(int i, int o, int S, int P, int D)
{
    int offset = i + P - o * S;
    return D == 1 ? offset : offset % D ? -1 : offset / D;
}
