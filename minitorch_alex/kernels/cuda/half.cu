// Numbers of float as numbers of half precision, scaled so that they fit: half.py tells why.

// tops[p] = the largest |x[i]| of i = p, p + P, ... < M. Called again on `tops` until one is left: the largest of some
// numbers is the same in any order. A NaN is passed over; it will still be one when it has been scaled.
extern "C" __global__ void largest(IN(FLOAT) x, OUT(FLOAT) tops, int M, int P)
{
    EACH(p, P) {
        FLOAT top = 0;
        for (int i = p; i < M; i += P) {
            FLOAT size = fabs(x[i]);
            top = size > top ? size : top;
        }
        tops[p] = top;
    }
}

// The k for which 2^14 <= top 2^k < 2^15, for an infinite top 0. At most 126: 2^k must be a float.
__device__ inline int exponent_for(FLOAT top)
{
    int e = 15;
    if (top - top == 0)  // infinity minus itself is NaN
        frexp(top, &e);  // top = f 2^e with 1/2 <= f < 1, and e = 0 for 0
    return e < 15 - 126 ? 126 : 15 - e;
}

// The k of a factor, whose largest is `top`, beside another one: the two add up to 126 at most, since 2^-126 is the
// smallest float that no device takes for 0. Where that takes bits off the factors, they multiply to less than 2^-96.
__device__ inline int exponent_beside(FLOAT top, FLOAT other)
{
    int k = exponent_for(top), room = 126 - exponent_for(other);
    return k < room ? k : room;
}

// The nearest number of half precision, of two as near the even one: 1 bit sign, 5 exponent (+15), 10 fraction.
__device__ inline half_bits nearest_half(float x)
{
    unsigned bits = __float_as_uint(x), sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    if (size >= 0x47800000)  // 2^16 and more, infinity, NaN
        return sign | (size > 0x7f800000 ? 0x7e00 : 0x7c00);
    if (size < 0x38800000)   // less than 2^-14: a multiple of 2^-24, without the leading 1
        return sign | (unsigned)rint(fabs(x) * 16777216);
    return sign | ((size - 0x38000000 + 0x0fff + (size >> 13 & 1)) >> 13);  // 112 less in the exponent, 13 bits less
}

// y = x 2^k in half precision
extern "C" __global__ void to_half(IN(FLOAT) x, IN(FLOAT) top, IN(FLOAT) other, OUT(half_bits) y, int M)
{
    FLOAT scale = ldexp((FLOAT)1, exponent_beside(top[0], other[0]));
    EACH(i, M)
        y[i] = nearest_half(x[i] * scale);
}

// back = (2^-(the two factors' k), 0): what cuBLAS multiplies the product by, and what it adds to it
extern "C" __global__ void scale_back(IN(FLOAT) top_a, IN(FLOAT) top_b, OUT(FLOAT) back)
{
    int k = exponent_beside(top_a[0], top_b[0]) + exponent_beside(top_b[0], top_a[0]);
    EACH(i, 2)
        back[i] = i ? 0 : ldexp((FLOAT)1, -k);
}
