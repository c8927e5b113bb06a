// Small images made larger, bilinear, in whole numbers as Pillow does it (data/enlarge.py): output
// (h, w) is the mean of two rows, each the mean of two pixels, and each mean is rounded to a byte.
// Weights are in units of 2^-22.
//
//     row(i) = (left_weight images[n, i, left, c]
//               + right_weight images[n, i, left + 1, c]) 2^-22,  rounded
//     y[n, h, w, c] = (top_weight row(top) + bottom_weight row(top + 1)) 2^-22,  rounded
//
// images (N,H,W,C), y (N,S,S,C); top, left (S,) are the first of the two, with weights (S,2).
#define ROUNDED(sum) (((sum) + (1 << 21)) >> 22)

extern "C" __global__ void enlarge(
    IN(unsigned char) images, OUT(unsigned char) y, IN(int) top, IN(int) row_weights, IN(int) left,
    IN(int) column_weights,
    int N, int H, int W, int C, int S)
{
    EACH(j, S * C) {
        int w = j / C, c = j % C;
        int left_weight = column_weights[2 * w], right_weight = column_weights[2 * w + 1];
        int near_left = left[w];
        int near_right = near_left + 1 < W ? near_left + 1 : near_left;  // at the edge: weight 0
        LINES(line, N * S) {
            int n = line / S, h = line % S;
            int above = top[h], below = above + 1 < H ? above + 1 : above;
            int upper = (n * H + above) * W, lower = (n * H + below) * W;
            int high = ROUNDED(left_weight * images[(upper + near_left) * C + c]
                               + right_weight * images[(upper + near_right) * C + c]);
            int low = ROUNDED(left_weight * images[(lower + near_left) * C + c]
                              + right_weight * images[(lower + near_right) * C + c]);
            y[line * S * C + j]
                = ROUNDED(row_weights[2 * h] * high + row_weights[2 * h + 1] * low);
        }
    }
}

// From the bytes of a batch to the network's input in one pass: what data/transforms/ does on
// the host, number for number, given the same draws. The batch crosses to the device as bytes, a
// quarter of what floats would take.
//
//     x[n, h, w, c] = (pixel - mean[top + h, left + w, c] + shift[n, c]) / divisor
//     pixel = images[n, rows[n] - pad + h, cols[n] - pad + (flips[n] ? SW - 1 - w : w), c],
//             0 in the border of `pad`
//
// The mean is the mean image's central window, whatever was cropped and never mirrored; top, left
// say where it starts. With `follows` it is the mean at the place of the pixel instead, 0 in the
// border, so it is mirrored with the image.
//
// images (N,H,W,C) bytes, x (N,SH,SW,C), mean (...,MW,C), shift (N,C).
extern "C" __global__ void augment(
    IN(unsigned char) images, OUT(FLOAT) x, IN(int) rows, IN(int) cols, IN(unsigned char) flips,
    IN(FLOAT) mean, IN(FLOAT) shift,
    FLOAT divisor, int N, int H, int W, int C, int SH, int SW, int pad, int top, int left, int MW,
    int follows)
{
    EACH(j, SW * C) {
        int w = j / C, c = j % C;
        LINES(line, N * SH) {
            int n = line / SH, h = line % SH;
            int ih = rows[n] - pad + h, iw = cols[n] - pad + (flips[n] ? SW - 1 - w : w);
            int inside = 0 <= ih && ih < H && 0 <= iw && iw < W;
            FLOAT pixel = inside ? images[((n * H + ih) * W + iw) * C + c] : 0;
            int place = follows ? ih * MW + iw : (top + h) * MW + left + w;
            FLOAT below = inside || !follows ? mean[place * C + c] : 0;
            x[line * SW * C + j] = (pixel - below + shift[n * C + c]) / divisor;
        }
    }
}
