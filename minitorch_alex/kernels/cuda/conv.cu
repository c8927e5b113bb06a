// im2col and its transpose, col2im: all there is to a convolution besides matrix products.
//
// The column matrix has a row for each output place and a column for each number that its window
// sees:
//
//     col[row(n, oh, ow), (kh KW + kw) Cg + c]
//         = x[n, oh S - P + kh D, ow S - P + kw D, first + c],  0 off the image
//
// so that  y = col @ w^T.  `first` and Cg pick the channels of one group. A row is `pitch` long:
// KH KW Cg numbers, then zeros up to a multiple of 8, since tensor cores want rows that start at
// multiples of 16 bytes (the first layer has 363). row(n, oh, ow) = n row_n + (oh OW + ow) row_p:
// images first for a convolution (row_n = OH OW, row_p = 1), places first for the locally
// connected layer (row_n = 1, row_p = N), which multiplies place by place.

// A thread has one column: a tap and a channel. It walks along lines of outputs: neighbouring
// outputs are S pixels apart in the image and row_p rows apart in the matrix, so a step is two
// additions. 32 threads at work together write 32 neighbouring columns, and read the channels, or
// the pixels side by side, of one line of the image.
extern "C" __global__ void im2col(
    IN(FLOAT) x, OUT(FLOAT) col,
    int N, int H, int W, int C, int first, int Cg, int OH, int OW, int KH, int KW, int SH, int SW,
    int PH, int PW, int DH, int DW, int pitch, int row_n, int row_p)
{
    EACH(j, pitch) {
        int c = j % Cg, kw = j / Cg % KW, kh = j / Cg / KW;  // kh = KH: a zero at the end
        LINES(line, N * OH) {
            int n = line / OH, oh = line % OH, ih = oh * SH - PH + kh * DH;
            int inside = kh < KH && 0 <= ih && ih < H;
            int from = (n * H + (inside ? ih : 0)) * W * C + first + c;
            int to = (n * row_n + oh * OW * row_p) * pitch + j;
            int iw = kw * DW - PW;
#pragma unroll 4
            for (int ow = 0; ow < OW; ow++) {
                int valid = inside && 0 <= iw && iw < W;
                // Always a read, without a branch, so that four of them overlap.
                FLOAT value = x[valid ? from + iw * C : 0];
                col[to] = valid ? value : 0;
                to += row_p * pitch;
                iw += SW;
            }
        }
    }
}

// gx[n, ih, iw, first + c] = the sum of col over all (window, tap) that lie on the pixel. A thread
// owns pixels and asks which windows cover them; each number of col is fetched exactly once, by
// the one pixel it belongs to.
extern "C" __global__ void col2im(
    IN(FLOAT) col, OUT(FLOAT) gx,
    int N, int H, int W, int C, int first, int Cg, int OH, int OW, int KH, int KW, int SH, int SW,
    int PH, int PW, int DH, int DW, int pitch, int row_n, int row_p)
{
    EACH(j, W * Cg) {
        int iw = j / Cg, c = j % Cg;
        int ow_first = first_window(iw, KW, SW, PW, DW), ow_last = last_window(iw, SW, PW, OW);
        LINES(line, N * H) {
            int n = line / H, ih = line % H;
            int oh_last = last_window(ih, SH, PH, OH);
            FLOAT sum = 0;
            for (int oh = first_window(ih, KH, SH, PH, DH); oh <= oh_last; oh++) {
                int kh = tap_at(ih, oh, SH, PH, DH);
                if (kh < 0)
                    continue;
                for (int ow = ow_first; ow <= ow_last; ow++) {
                    int kw = tap_at(iw, ow, SW, PW, DW);
                    int row = n * row_n + (oh * OW + ow) * row_p;
                    if (kw >= 0)
                        sum += col[row * pitch + (kh * KW + kw) * Cg + c];
                }
            }
            gx[(line * W + iw) * C + first + c] = sum;
        }
    }
}
