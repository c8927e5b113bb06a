// Pooling. Forward, a thread owns an output and looks through its window. Backward, a thread owns an input pixel and
// asks each window that covers it for its share; windows overlap (the paper's 3x3 at stride 2), so several may answer.

#define NO_PIXEL 65535  // the winner of a window that holds padding only

// y = the largest pixel of the window and won = the tap, kh KW + kw, it stood at: the first of equal ones; a NaN wins.
extern "C" __global__ void max_pool2d(IN(FLOAT) x, OUT(FLOAT) y, OUT(unsigned short) won, int N, int H, int W, int C,
                                      int OH, int OW, int KH, int KW, int SH, int SW, int PH, int PW, int DH, int DW)
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
            y[line * OW * C + j] = winner == NO_PIXEL ? log((FLOAT)0) : best;  // log 0: minus infinity
            won[line * OW * C + j] = winner;
        }
    }
}

// gx = the sum of gy over the windows that this pixel won.
extern "C" __global__ void max_pool2d_backward(IN(FLOAT) gy, IN(unsigned short) won, OUT(FLOAT) gx, int N, int H, int W,
                                               int C, int OH, int OW, int KH, int KW, int SH, int SW, int PH, int PW,
                                               int DH, int DW)
{
    EACH(j, W * C) {
        int iw = j / C, c = j % C;
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
                    int kw = tap_at(iw, ow, SW, PW, DW), at = ((n * OH + oh) * OW + ow) * C + c;
                    if (kw >= 0 && won[at] == kh * KW + kw)
                        sum += gy[at];
                }
            }
            gx[line * W * C + j] = sum;
        }
    }
}

// How many cells of window o count along one axis: those on the image, or (`rim` = P) on the image and its padding.
__device__ inline int cells(int o, int K, int S, int P, int size, int rim)
{
    int start = o * S - P, stop = start + K;
    start = start < -rim ? -rim : start;
    stop = stop > size + rim ? size + rim : stop;
    return stop - start;
}

// y = the sum of the window over its number of cells; `padded`: padding counts, as a zero. Dilation is 1.
extern "C" __global__ void avg_pool2d(IN(FLOAT) x, OUT(FLOAT) y, int N, int H, int W, int C, int OH, int OW, int KH,
                                      int KW, int SH, int SW, int PH, int PW, int padded)
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
extern "C" __global__ void avg_pool2d_backward(IN(FLOAT) gy, OUT(FLOAT) gx, int N, int H, int W, int C, int OH, int OW,
                                               int KH, int KW, int SH, int SW, int PH, int PW, int padded)
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
                for (int ow = ow_first; ow <= ow_last; ow++)
                    sum += gy[((n * OH + oh) * OW + ow) * C + c] / (rows * cells(ow, KW, SW, PW, W, padded ? PW : 0));
            }
            gx[line * W * C + j] = sum;
        }
    }
}
