// From the bytes of a batch to the network's input in one pass: what data/transforms.py does on the host, number for
// number, given the same draws. The batch crosses to the device as bytes, a quarter of what floats would take.
//
//     x[n, h, w, c] = (pixel - mean[top + h, left + w, c] + shift[n, c]) / divisor
//     pixel = images[n, rows[n] - pad + h, cols[n] - pad + (flips[n] ? SW - 1 - w : w), c],  0 in the border of `pad`
//
// The mean is the mean image's central window, whatever was cropped and never mirrored; top, left say where it starts.
// images (N,H,W,C) bytes, x (N,SH,SW,C), mean (.., MW, C), shift (N,C).
extern "C" __global__ void augment(IN(unsigned char) images, OUT(FLOAT) x, IN(int) rows, IN(int) cols,
                                   IN(unsigned char) flips, IN(FLOAT) mean, IN(FLOAT) shift, FLOAT divisor, int N,
                                   int H, int W, int C, int SH, int SW, int pad, int top, int left, int MW)
{
    EACH(j, SW * C) {
        int w = j / C, c = j % C;
        LINES(line, N * SH) {
            int n = line / SH, h = line % SH;
            int ih = rows[n] - pad + h, iw = cols[n] - pad + (flips[n] ? SW - 1 - w : w);
            int inside = 0 <= ih && ih < H && 0 <= iw && iw < W;
            FLOAT pixel = inside ? images[((n * H + ih) * W + iw) * C + c] : 0;
            x[line * SW * C + j] = (pixel - mean[((top + h) * MW + left + w) * C + c] + shift[n * C + c]) / divisor;
        }
    }
}
