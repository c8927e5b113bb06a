// Pooling. Forward, a thread owns an output and looks through its window. Backward, a thread owns
// an input pixel and asks each window that covers it for its share; windows overlap (the paper's
// 3x3 at stride 2), so several may answer.

#define NO_PIXEL 65535  // the winner of a window that holds padding only

// y = the largest pixel of the window and won = the tap, kh KW + kw, it stood at: the first of
// equal ones; a NaN wins.
//
// `of_relu`: x is the result of a ReLU, and nobody wins a window without a positive pixel. So
// backward gives the gradient of what that ReLU was given, at no cost: a ReLU passes on nothing
// where it is not positive.
extern "C" __global__ void max_pool2d(
    IN(FLOAT) x, OUT(FLOAT) y, OUT(unsigned short) won,
    int N, int H, int W, int C, int OH, int OW, int KH, int KW, int SH, int SW, int PH, int PW, int
    DH, int DW, int of_relu)
{
    EACH(j, OW * C) {
        int ow = j / C, c = j % C;
        LINES(line, N * OH) {
            int n = line / OH, oh = line % OH, winner = NO_PIXEL;
            FLOAT best = 0;
            for (int kh = 0; kh < KH; kh++) {
                int ih = oh * SH - PH + kh * DH;
                if (ih < 0 || ih >= H)
                    continue;
                for (int kw = 0; kw < KW; kw++) {
                    int iw = ow * SW - PW + kw * DW;
                    if (iw < 0 || iw >= W)
                        continue;
                    FLOAT value = x[((n * H + ih) * W + iw) * C + c];
                    if (winner == NO_PIXEL || value > best || value != value) {
                        best = value;
                        winner = kh * KW + kw;
                    }
                }
            }
            // log 0 is minus infinity
            y[line * OW * C + j] = winner == NO_PIXEL ? log((FLOAT)0) : best;
            won[line * OW * C + j] = of_relu && best <= 0 ? NO_PIXEL : winner;
        }
    }
}

// gx = the sum of gy over the windows that this pixel won. A thread has a channel and walks along
// a line of pixels. The windows that cover a pixel are first_ow ... last_ow; from one pixel to the
// next either end moves by one or stays, so that it takes comparisons, where first_window and
// last_window would divide at each pixel:
//
//     3 x 3 windows at stride 2     pixel      0    1    2    3    4
//                                   windows    0    0   0-1   1   1-2
extern "C" __global__ void max_pool2d_backward(
    IN(FLOAT) gy, IN(unsigned short) won, OUT(FLOAT) gx,
    int N, int H, int W, int C, int OH, int OW, int KH, int KW, int SH, int SW, int PH, int PW, int
    DH, int DW)
{
    EACH(c, C) {
        LINES(line, N * H) {
            int n = line / H, ih = line % H;
            int first_oh = first_window(ih, KH, SH, PH, DH), last_oh = last_window(ih, SH, PH, OH);
            int first_ow = first_window(0, KW, SW, PW, DW), last_ow = last_window(0, SW, PW, OW);
            int last_pixel = first_ow * SW - PW + (KW - 1) * DW;  // of window first_ow
            int next_start = (last_ow + 1) * SW - PW;             // first pixel of last_ow + 1
            for (int iw = 0; iw < W; iw++) {
                if (iw > last_pixel) {
                    first_ow++;
                    last_pixel += SW;
                }
                if (iw == next_start && last_ow + 1 < OW) {
                    last_ow++;
                    next_start += SW;
                }
                FLOAT sum = 0;
                for (int oh = first_oh; oh <= last_oh; oh++) {
                    int kh = tap_at(ih, oh, SH, PH, DH);
                    for (int ow = first_ow; ow <= last_ow; ow++) {
                        int kw = tap_at(iw, ow, SW, PW, DW);
                        int at = ((n * OH + oh) * OW + ow) * C + c;
                        // Read even where it is not needed, so that no read waits for another.
                        FLOAT share = gy[at];
                        sum += kh >= 0 && kw >= 0 && won[at] == kh * KW + kw ? share : 0;
                    }
                }
                gx[(line * W + iw) * C + c] = sum;
            }
        }
    }
}

// How many cells of window o count along one axis: those on the image, or (`rim` = P) on the image
// and its padding.
__device__ inline int cells(int o, int K, int S, int P, int size, int rim)
{
    int start = o * S - P, stop = start + K;
    start = start < -rim ? -rim : start;
    stop = stop > size + rim ? size + rim : stop;
    return stop - start;
}

// y = the sum of the window over its number of cells; `padded`: padding counts, as a zero.
// Dilation is 1.
extern "C" __global__ void avg_pool2d(
    IN(FLOAT) x, OUT(FLOAT) y,
    int N, int H, int W, int C, int OH, int OW, int KH, int KW, int SH, int SW, int PH, int PW, int
    padded)
{
    EACH(j, OW * C) {
        int ow = j / C, c = j % C, columns = cells(ow, KW, SW, PW, W, padded ? PW : 0);
        LINES(line, N * OH) {
            int n = line / OH, oh = line % OH;
            FLOAT sum = 0;
            for (int kh = 0; kh < KH; kh++) {
                int ih = oh * SH - PH + kh;
                if (ih < 0 || ih >= H)
                    continue;
                for (int kw = 0; kw < KW; kw++) {
                    int iw = ow * SW - PW + kw;
                    if (0 <= iw && iw < W)
                        sum += x[((n * H + ih) * W + iw) * C + c];
                }
            }
            y[line * OW * C + j] = sum / (columns * cells(oh, KH, SH, PH, H, padded ? PH : 0));
        }
    }
}

// gx = the sum over the windows that cover the pixel of gy over that window's number of cells.
extern "C" __global__ void avg_pool2d_backward(
    IN(FLOAT) gy, OUT(FLOAT) gx,
    int N, int H, int W, int C, int OH, int OW, int KH, int KW, int SH, int SW, int PH, int PW, int
    padded)
{
    EACH(j, W * C) {
        int iw = j / C, c = j % C;
        int ow_first = first_window(iw, KW, SW, PW, 1), ow_last = last_window(iw, SW, PW, OW);
        LINES(line, N * H) {
            int n = line / H, ih = line % H;
            int oh_last = last_window(ih, SH, PH, OH);
            FLOAT sum = 0;
            for (int oh = first_window(ih, KH, SH, PH, 1); oh <= oh_last; oh++) {
                int rows = cells(oh, KH, SH, PH, H, padded ? PH : 0);
                for (int ow = ow_first; ow <= ow_last; ow++) {
                    int columns = cells(ow, KW, SW, PW, W, padded ? PW : 0);
                    sum += gy[((n * OH + oh) * OW + ow) * C + c] / (rows * columns);
                }
            }
            gx[line * W * C + j] = sum;
        }
    }
}
