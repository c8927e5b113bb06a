// CUDA on the CPU: enough of its language for the kernels of minitorch_alex/kernels/cuda to compile as C++, where a
// launch runs one thread after the other (host_cuda.py writes the loops).
#include <math.h>
#include <string.h>
#ifdef __SSE__
#include <xmmintrin.h>
#endif

struct Place { unsigned x, y, z; };
static Place threadIdx, blockIdx, blockDim, gridDim;

static inline unsigned __float_as_uint(float x)
{
    unsigned bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float rsqrt(float x) { return 1 / sqrtf(x); }
static inline double rsqrt(double x) { return 1 / sqrt(x); }

// CuPy compiles with -ftz=true whatever it is asked: floats below 2^-126 are 0 for every kernel, as they are while this
// object lives (bits 15, flush to zero, and 6, denormals are zero, of the control register). Doubles are as usual.
struct Rounding {
#ifdef __SSE__
    unsigned before;
    explicit Rounding(bool flush) : before(_mm_getcsr()) { if (flush) _mm_setcsr(before | 0x8040); }
    ~Rounding() { _mm_setcsr(before); }
#else
    explicit Rounding(bool) {}
    ~Rounding() {}
#endif
};

#define __global__
#define __device__
