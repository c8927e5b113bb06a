// Numbers of float as numbers of two bytes, for fp16 scaled so that they fit: half.py says why.

// tops[p] = the largest |x[i]| of i = p, p + P, ... < M. Called again on `tops` until one is left:
// the largest of some numbers is the same in any order. A NaN is passed over; it will still be one
// when it has been scaled.
extern "C" __global__ void largest(IN(FLOAT) x, OUT(FLOAT) tops, int M, int P)
{
    EACH(p, P) {
        FLOAT top = 0;
#pragma unroll 8  // eight reads on their way at a time: a thread by itself would wait for each
        for (int i = p; i < M; i += P) {
            FLOAT size = fabs(x[i]);
            top = size > top ? size : top;
        }
        tops[p] = top;
    }
}

// The k for which 2^14 <= top 2^k < 2^15, for an infinite top 0. At most 63: the way back of two
// factors, 2^-(k + k'), is then at least 2^-126, the smallest float that no device takes for 0.
__device__ inline int exponent_for(FLOAT top)
{
    int e = 15;
    if (top - top == 0)  // infinity minus itself is NaN
        frexp(top, &e);  // top = f 2^e with 1/2 <= f < 1, and e = 0 for 0
    return e < 15 - 63 ? 63 : 15 - e;
}

// The nearest number of half precision, of two equally near the even one: 1 bit of sign, 5 of
// exponent (+15), 10 of fraction.
__device__ inline half_bits nearest_half(float x)
{
    unsigned bits = __float_as_uint(x), sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    if (size >= 0x47800000)  // 2^16 and more, infinity, NaN
        return sign | (size > 0x7f800000 ? 0x7e00 : 0x7c00);
    if (size < 0x38800000)   // less than 2^-14: a multiple of 2^-24, without the leading 1
        return sign | (unsigned)rint(fabs(x) * 16777216);
    // 112 less in the exponent, 13 bits less
    return sign | ((size - 0x38000000 + 0x0fff + (size >> 13 & 1)) >> 13);
}

// y = x 2^k in half precision
extern "C" __global__ void to_half(IN(FLOAT) x, IN(FLOAT) top, OUT(half_bits) y, int M)
{
    FLOAT scale = ldexp((FLOAT)1, exponent_for(top[0]));
    EACH(i, M)
        y[i] = nearest_half(x[i] * scale);
}

// back = (2^-(the two factors' k), 0, 1): what cuBLAS multiplies a product by, and what it
// multiplies the matrix by that is there already: 0 where the product replaces it, 1 where it is
// added.
extern "C" __global__ void scale_back(IN(FLOAT) top_a, IN(FLOAT) top_b, OUT(FLOAT) back)
{
    int k = exponent_for(top_a[0]) + exponent_for(top_b[0]);
    EACH(i, 3)
        back[i] = i == 0 ? ldexp((FLOAT)1, -k) : i - 1;
}

// y = x as the nearest bfloat16, of two equally near the even one: the upper half of a float's
// bits, rounded. A NaN stays a NaN.
extern "C" __global__ void to_bf16(IN(FLOAT) x, OUT(unsigned short) y, int M)
{
    EACH(i, M) {
        unsigned bits = __float_as_uint(x[i]);
        int is_nan = (bits & 0x7fffffff) > 0x7f800000;
        y[i] = is_nan ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    }
}
