"""Mistakes that people made in public code, written anew into the exercises.

Each is (exercise, what is wrong and where it was seen, edits of the solution's source). An edit is
(old, new); one whose old is "" is appended to the file, where it replaces the function.
"""
TWO_LOOPS = "    for kh in range(KH):\n        for kw in range(KW):\n"
CONV_BACKWARD_LOOPS = """
def conv2d_backward(gy, x, w, stride, padding, groups):
    N, O, OH, OW = gy.shape
    _, Cg, KH, KW = w.shape
    P = padding
    xp = np.pad(x, ((0, 0), (0, 0), (P, P), (P, P)))
    gxp = np.zeros_like(xp)
    gw = np.zeros_like(w)
    for n, o, i, j in np.ndindex(N, O, OH, OW):
        c = slice(o // (O // groups) * Cg, (o // (O // groups) + 1) * Cg)
        r = slice(i * stride, i * stride + KH)
        s = slice(j * stride, j * stride + KW)
        gw[o] += gy[n, o, i, j] * xp[n, c, r, s]
        gxp[n, c, r, s] {op} gy[n, o, i, j] * {w}
    gx = {gx}
    return {result}
"""


def loops(op="+=", w="w[o]", gx="gxp[:, :, P:P + x.shape[2], P:P + x.shape[3]]",
          result="gx, gw, gy.sum(axis=(0, 2, 3))"):
    """conv2d_backward in loops, with one part exchanged."""
    return (("", CONV_BACKWARD_LOOPS.format(op=op, w=w, gx=gx, result=result)),)


POOL = """
def max_pool2d_backward(gy, x, size, stride):
    N, C, OH, OW = gy.shape
    gx = {start}
    for n, c, i, j in np.ndindex(N, C, OH, OW):
        cell = x[n, c, i * stride:i * stride + size, j * stride:j * stride + size]
        a, b = np.unravel_index({winner}, (size, size))
        gx[n, c, i * stride + a, j * stride + b] {op} gy[n, c, i, j]
        {after}
    return gx
"""


def pool(start="np.zeros_like(x)", winner="cell.argmax()", op="+=", after="pass"):
    """max_pool2d_backward in loops, with one part exchanged."""
    return (("", POOL.format(start=start, winner=winner, op=op, after=after)),)


def replaced(*edits):
    return tuple(edits)


def appended(text):
    return (("", text),)


SUM_OF_SQUARES = "window_sum(x * x, size // 2, size - 1 - size // 2)"
SOFTMAX = """
def softmax_cross_entropy(logits, labels):
    rows = np.arange(len(labels))
    e = np.exp({z})
    p = e / e.sum(axis=1, keepdims=True)
    loss = float({loss})
    gradient = p.copy()
    gradient[{where}] -= 1
    return {result}
"""


def softmax(z="logits - logits.max(axis=1, keepdims=True)",
            loss="(np.log(e.sum(axis=1)) - (logits - logits.max(axis=1, keepdims=True))"
                 "[rows, labels]).mean()",
            where="rows, labels", result="loss, gradient / len(labels)"):
    """softmax_cross_entropy over the probabilities, with one part exchanged."""
    return appended(SOFTMAX.format(z=z, loss=loss, where=where, result=result))


WRONG = (
    ("1.1", "(H - size + 1) / stride + 1",
     replaced(("return 1 + steps", "return 1 + -(-(room + 1) // stride)"))),
    ("1.1", "round for ceil",
     replaced(("-(-room // stride) if", "round(room / stride) if"))),
    ("1.1", "ceil(size / stride)", replaced(("return 1 + steps", "return -(-size // stride)"))),
    ("1.2", "bias once for each channel",
     replaced(("                    for c in range(C):\n",
               "                    total = 0\n                    for c in range(C):\n"
               "                        total += b[o]\n"))),
    ("1.2", "OW with KH", replaced(("out_size(W, KW,", "out_size(W, KH,"))),
    ("2.1", "cs231n's layout: (C KH KW, N OH OW)",
     replaced(("    return view.reshape(N * OH * OW, C * KH * KW)",
               "    return view.transpose(3, 4, 5, 1, 2, 0).reshape(C * KH * KW, -1)"))),
    ("2.1", "OW with KH",
     appended("_im2col = im2col\ndef im2col(x, KH, KW, stride, padding):\n"
              "    N, C, H, W = x.shape\n"
              "    xp = np.pad(x, ((0, 0), (0, 0), (padding,) * 2, (padding,) * 2))\n"
              "    OH = 1 + (H + 2 * padding - KH) // stride\n"
              "    OW = 1 + (W + 2 * padding - KH) // stride\n"
              "    return np.stack([xp[n, :, i * stride:i * stride + KH, j * stride:j * stride + KW]"
              ".ravel() for n, i, j in np.ndindex(N, OH, OW)])\n")),
    ("2.2", "= for += over cells",
     replaced(("bordered[:, :, rows, columns] += taps", "bordered[:, :, rows, columns] = taps"))),
    ("2.2", "= for += over windows",
     appended("def col2im(cols, x_shape, KH, KW, stride, padding):\n"
              "    N, C, H, W = x_shape\n    P = padding\n"
              "    x = np.zeros((N, C, H + 2 * P, W + 2 * P), cols.dtype)\n"
              "    rows = iter(cols)\n"
              "    for n in range(N):\n"
              "        for i in range(0, H + 2 * P - KH + 1, stride):\n"
              "            for j in range(0, W + 2 * P - KW + 1, stride):\n"
              "                x[n, :, i:i + KH, j:j + KW] = next(rows).reshape(C, KH, KW)\n"
              "    return x[:, :, P:P + H, P:P + W]\n")),
    ("2.2", "a view of as_strided += taps",
     replaced((TWO_LOOPS,
               "    n, c, h, w_ = bordered.strides\n"
               "    view = np.lib.stride_tricks.as_strided(bordered, (N, OH, OW, C, KH, KW),\n"
               "        (n, h * stride, w_ * stride, c, h, w_))\n    view += taps\n"
               "    for kh in range(0):\n        for kw in range(KW):\n"))),
    ("2.3", "kernels cut along channels too",
     replaced(("w[made].reshape(O // groups, -1)",
               "w[made][:, seen].reshape(O // groups, -1)"))),
    ("3.1", "axis numbers from before the front was summed",
     appended("def unbroadcast(g, shape):\n"
              "    front = g.ndim - len(shape)\n"
              "    axes = tuple(i + front for i, n in enumerate(shape)"
              " if n == 1 and g.shape[i + front] > 1)\n"
              "    g = g.sum(axis=tuple(range(front)))\n"
              "    for a in axes:\n        if a < g.ndim:\n"
              "            g = g.sum(axis=a, keepdims=True)\n    return g\n")),
    ("3.1", "front axes summed with keepdims",
     appended("def unbroadcast(g, shape):\n    front = g.ndim - len(shape)\n"
              "    g = g.sum(axis=tuple(range(front)), keepdims=True)\n"
              "    axes = tuple(i + front for i, n in enumerate(shape) if n == 1)\n"
              "    return g.sum(axis=axes, keepdims=True)\n")),
    ("3.2", "recursion for each path",
     appended("def backward_walk(root, gradient, add_to_leaf):\n"
              "    grads = root.backward(gradient)\n"
              "    grads = grads if isinstance(grads, tuple) else (grads,)\n"
              "    for (source, shape), g in zip(root.edges, grads):\n"
              "        if source is None:\n            continue\n"
              "        g = unbroadcast(g, shape)\n"
              "        if isinstance(source, Function):\n"
              "            backward_walk(source, g, add_to_leaf)\n"
              "        else:\n            add_to_leaf(source, g)\n")),
    ("3.2", "breadth first with a set of those seen",
     replaced(("            waiting[source] -= 1\n            if waiting[source] == 0:\n",
               "            if source not in ready and waiting.pop(source, None):\n"))),
    ("3.2", "counts over set(edges)",
     replaced(("for source, _ in todo.pop().edges:",
               "for source in {s for s, _ in todo.pop().edges}:"))),
    ("3.2", "no test for None",
     replaced(("            if source is None:\n                continue\n            g = unbro",
               "            g = unbro"))),
    ("3.3", "the test of seen removed",
     replaced(("            if isinstance(source, Function) and source not in seen:\n"
               "                visit(source)",
               "            if isinstance(source, Function):\n                visit(source)"))),
    ("4.1", "gw divided by the places", loops(result="gx, gw / (OH * OW), gy.sum(axis=(0, 2, 3))")),
    ("4.1", "gw divided by all", loops(result="gx, gw / (N * OH * OW), gy.sum(axis=(0, 2, 3))")),
    ("4.1", "the border stays", loops(gx="gxp")),
    ("4.1", "the border cut by [p:-p]",
     loops(gx="gxp[:, :, P:-P, P:-P]")),
    ("4.1", "gw kept between calls",
     replaced(("    gw = np.empty_like(w)\n",
               "    gw = KEPT.setdefault(w.shape, np.zeros_like(w))\n"),
              ("        gw[made] = (places", "        gw[made] += (places"),
              ("", "KEPT = {}\n"))),
    ("4.1", "kernel not turned in the full convolution", loops(w="w[o][:, ::-1, ::-1]")),
    ("4.1", "gw turned",
     loops(result="gx, gw[:, :, ::-1, ::-1], gy.sum(axis=(0, 2, 3))")),
    ("4.1", "gx as large as the windows reach",
     loops(gx="gxp[:, :, P:(OH - 1) * stride + KH - P, P:(OW - 1) * stride + KW - P]")),
    ("4.1", "order of the results", loops(result="gw, gx, gy.sum(axis=(0, 2, 3))")),
    ("4.1", "gb with an axis too many",
     loops(result="gx, gw, gy.sum(axis=(0, 2, 3)).reshape(-1, 1)")),
    ("4.1", "gx assigned for each window", loops(op="=")),
    ("4.1", "x, w and gy set to 0",
     appended("_right = conv2d_backward\n"
              "def conv2d_backward(gy, x, w, stride, padding, groups):\n"
              "    r = _right(gy, x, w, stride, padding, groups)\n"
              "    x[...] = 0\n    return r\n")),
    ("4.1", "KH for KW",
     appended(CONV_BACKWARD_LOOPS.format(
         op="+=", w="w[o]", gx="gxp[:, :, P:P + x.shape[2], P:P + x.shape[3]]",
         result="gx, gw, gy.sum(axis=(0, 2, 3))").replace("j * stride + KW", "j * stride + KH"))),
    ("4.2", "all equal ones get it",
     appended("def max_pool2d_backward(gy, x, size, stride):\n    gx = np.zeros_like(x)\n"
              "    for n, c, i, j in np.ndindex(*gy.shape):\n"
              "        r = slice(i * stride, i * stride + size)\n"
              "        s = slice(j * stride, j * stride + size)\n"
              "        cell = x[n, c, r, s]\n"
              "        gx[n, c, r, s] += (cell == cell.max()) * gy[n, c, i, j]\n    return gx\n")),
    ("4.2", "gx starts as x", pool(start="np.copy(x)")),
    ("4.2", "return after the first image", pool(after="if n == 1: return gx")),
    ("4.2", "one winner for all channels",
     pool(winner="x[n, :, i * stride:i * stride + size, j * stride:j * stride + size]"
                 ".max(axis=0).argmax()")),
    ("4.2", "the maximum starts at -100",
     appended("def max_pool2d_backward(gy, x, size, stride):\n    gx = np.zeros_like(x)\n"
              "    for n, c, i, j in np.ndindex(*gy.shape):\n"
              "        best, place = -100.0, None\n"
              "        for a, b in np.ndindex(size, size):\n"
              "            if x[n, c, i * stride + a, j * stride + b] > best:\n"
              "                best = x[n, c, i * stride + a, j * stride + b]\n"
              "                place = (i * stride + a, j * stride + b)\n"
              "        if place:\n            gx[n, c, place[0], place[1]] += gy[n, c, i, j]\n"
              "    return gx\n")),
    ("4.3", "one number for all, ones as cotangent",
     appended("def gradient_is_right(forward, backward, inputs):\n"
              "    inputs = [np.array(x) for x in inputs]\n"
              "    gs = backward(np.ones(forward(*inputs).shape), *inputs)\n"
              "    for i, x in enumerate(inputs):\n"
              "        num = np.zeros_like(x)\n"
              "        for k in np.ndindex(x.shape):\n"
              "            a, b = x.copy(), x.copy()\n            a[k] += 1e-7\n"
              "            b[k] -= 1e-7\n"
              "            num[k] = (forward(*inputs[:i], a, *inputs[i + 1:]).sum()\n"
              "                      - forward(*inputs[:i], b, *inputs[i + 1:]).sum()) / 2e-7\n"
              "        d = np.linalg.norm(gs[i] - num) / (np.linalg.norm(gs[i])\n"
              "            + np.linalg.norm(num))\n"
              "        if not d < 2e-7:\n            return False\n    return True\n")),
    ("4.3", "x[i] += h and never restored",
     replaced(("moved = x.copy()", "moved = x"))),
    ("5.1", "in place on gy",
     appended("def relu_backward(gy, y):\n    gy[y == 0] = 0\n    return gy\n")),
    ("5.2", "one row and column too many",
     replaced(("    OH = (H - size) // stride + 1\n    OW = (W - size) // stride + 1\n    y =",
               "    OH = (H - size) // stride + 1\n    OW = (W - size) // stride + 1\n"
               "    pad = np.zeros((N, C, OH + 1, OW + 1), x.dtype)\n    y =")
              , ("            y = np.maximum(y, x[:, :, rows, columns])\n    return y",
                 "            y = np.maximum(y, x[:, :, rows, columns])\n"
                 "    pad[:, :, :OH, :OW] = y\n    return pad"))),
    ("5.2", "starts from -100",
     replaced(("-np.inf, x.dtype", "-100.0, x.dtype"))),
    ("5.2", "Python over windows",
     appended("def max_pool2d(x, size, stride):\n    N, C, H, W = x.shape\n"
              "    OH = (H - size) // stride + 1\n    OW = (W - size) // stride + 1\n"
              "    y = np.zeros((N, C, OH, OW), x.dtype)\n"
              "    for n, c, i, j in np.ndindex(*y.shape):\n"
              "        y[n, c, i, j] = x[n, c, i * stride:i * stride + size,\n"
              "                          j * stride:j * stride + size].max()\n    return y\n")),
    ("5.3", "ties share",
     replaced(("won = np.arange(size * size) == first[:, :, None]",
               "won = window == window.max(axis=2, keepdims=True)\n"
               "            won = won / won.sum(axis=2, keepdims=True)"))),
    ("5.3", "ties broken at random",
     replaced(("first = window.argmax(axis=2)",
               "first = (window + 1e-9 * np.random.rand(*window.shape)).argmax(axis=2)"))),
    ("6.1", "indices clamped at the edges",
     replaced((SUM_OF_SQUARES,
               "sum((x * x)[:, np.clip(np.arange(x.shape[1]) + d, 0, x.shape[1] - 1)] "
               "for d in range(-(size // 2), size - size // 2))"))),
    ("6.1", "size as a radius",
     replaced((SUM_OF_SQUARES,
               "np.stack([(x * x)[:, max(0, i - size):i + size + 1].sum(axis=1) "
               "for i in range(x.shape[1])], axis=1)"))),
    ("6.1", "all channels",
     replaced((SUM_OF_SQUARES, "(x * x).sum(axis=1, keepdims=True) * np.ones_like(x)"))),
    ("6.1", "an index past the channels",
     replaced((SUM_OF_SQUARES,
               "(window_sum(x * x, size // 2, size - 1 - size // 2)"
               " + 0 * x[:, [size - 2 - size // 2]])"))),
    ("6.1", "scale ** beta handed out",
     replaced(("return x / scale ** beta, scale",
               "scale = scale ** beta\n    return x / scale, scale"))),
    ("6.2", "y in place of x inside the sum",
     replaced(("cross = gy * x * scale ** (-beta - 1)",
               "cross = gy * x * scale ** -beta * scale ** (-beta - 1)"))),
    ("6.2", "scale ** -beta in the cross term",
     replaced(("scale ** (-beta - 1)", "scale ** -beta"))),
    ("7.1", "inverted: / p", replaced(('scale = 1.0 if rule == "2012" else 1 / (1 - p)',
                                       'scale = 1.0 if rule == "2012" else 1 / p'))),
    ("7.1", "in place on x",
     replaced(("    return x * kept * scale", "    x *= kept\n    return x * scale"))),
    ("7.1", "scaled twice",
     replaced(('return x * (1 - p) if rule == "2012" else x', "return x * (1 - p)"))),
    ("7.2", "eigenvalues not rooted",
     replaced(("np.sqrt(eigenvalues)) @", "eigenvalues) @"))),
    ("7.2", "the image alone divided",
     replaced(("return (images + shift) / images.dtype.type(1.1)",
               "return images / images.dtype.type(1.1) + shift"))),
    ("7.2", "draws changed in place",
     replaced(("    shift = (0.1 * draws", "    draws *= 1.0000001\n    shift = (0.1 * draws"))),
    ("7.4", "the mask read off from the values",
     replaced(("        return np.where(self.kept, gy / (1 - self.p), 0.0)",
               "        return np.where(self.y != 0, gy / (1 - self.p), 0.0)"),
              ("        return np.where(self.kept, x / (1 - self.p), 0.0)",
               "        self.y = np.where(self.kept, x / (1 - self.p), 0.0)\n        return self.y"))),
    ("8.1", "decay added", replaced(("v -= weight_decay", "v += weight_decay"))),
    ("8.1", "no decay where momentum is 0",
     replaced(("    v -= weight_decay * lr * w\n",
               "    if momentum:\n        v -= weight_decay * lr * w\n"))),
    ("8.1", "Nesterov of cs231n",
     replaced(("    v *= momentum\n", "    before = v.copy()\n    v *= momentum\n"),
              ("    w += v\n", "    w += -momentum * before + (1 + momentum) * v\n"))),
    ("8.1", "uphill: w -= v", replaced(("w += v", "w -= v"))),
    ("8.1", "velocity rebound", replaced(("v *= momentum", "v = v * momentum"))),
    ("8.1", "lr outside",
     replaced(("    v -= weight_decay * lr * w\n    v -= lr * g\n    w += v",
               "    v += g + weight_decay * w\n    w += -lr * v"))),
    ("8.2", "not divided by N", softmax(result="loss, gradient")),
    ("8.2", "twice as large", softmax(result="loss, 2 * gradient / len(labels)")),
    ("8.2", "max of the batch, log of p",
     softmax(z="logits - logits.max()", loss="-np.log(p[rows, labels]).mean()")),
    ("8.2", "in place, max of the batch",
     appended("_right = softmax_cross_entropy\ndef softmax_cross_entropy(logits, labels):\n"
              "    logits -= logits.max()\n    e = np.exp(logits)\n"
              "    p = e / e.sum(axis=1, keepdims=True)\n    n = np.arange(len(labels))\n"
              "    loss = float(-np.log(p[n, labels]).mean())\n    p[n, labels] -= 1\n"
              "    return loss, p / len(labels)\n")),
    ("8.2", "exp without max, log of p",
     softmax(z="logits", loss="-np.log(p[rows, labels]).mean()")),
    ("8.2", "clip", softmax(loss="-np.log(np.clip(p, 1e-12, 1 - 1e-12)[rows, labels]).mean()")),
    ("8.2", "1 taken from every row", softmax(where=":, labels")),
    ("8.2", "results exchanged", softmax(result="gradient / len(labels), loss")),
    ("8.4", "momentum not saved",
     replaced(('"v": state["v"].copy(), "step"', '"v": np.zeros_like(state["v"]), "step"'))),
    ("8.4", "resume hands out the state",
     replaced(('    return {"w": state["w"].copy(), "v": state["v"].copy(), "step": '
               'state["step"]}', "    return state"))),
    ("9.3", "outputs interleaved",
     replaced(("return np.concatenate(columns, axis=1) ",
               "y = np.concatenate(columns, axis=1)\n"
               "    return y[:, np.arange(O).reshape(2, -1).T.ravel()] "))),
)

# Seen in teaching, in none of the places above; most of them are one word away from what is right.
WRONG += (
    ("1.2", "the border is the edge pixel, repeated",
     replaced(("                                if 0 <= ih < H and 0 <= iw < W:\n"
               "                                    total +=",
               "                                ih = min(max(ih, 0), H - 1)\n"
               "                                iw = min(max(iw, 0), W - 1)\n"
               "                                if True:\n"
               "                                    total +="))),
    ("2.1", "windows of sliding_window_view, reshaped without a transpose",
     appended("def im2col(x, KH, KW, stride, padding):\n"
              "    xp = np.pad(x, ((0, 0), (0, 0), (padding,) * 2, (padding,) * 2))\n"
              "    v = np.lib.stride_tricks.sliding_window_view(xp, (KH, KW), axis=(2, 3))\n"
              "    return v[:, :, ::stride, ::stride].reshape(-1, x.shape[1] * KH * KW)\n")),
    ("2.2", "the mean of what meets in a pixel",
     replaced(("    return bordered[:, :, padding:padding + H, padding:padding + W]",
               "    count = np.zeros_like(bordered)\n"
               "    for i in range(OH):\n        for j in range(OW):\n"
               "            count[:, :, i * stride:i * stride + KH, j * stride:j * stride + KW] += 1\n"
               "    bordered /= np.maximum(count, 1)\n"
               "    return bordered[:, :, padding:padding + H, padding:padding + W]"))),
    ("2.2", "the border cut off at one side only",
     replaced(("    return bordered[:, :, padding:padding + H, padding:padding + W]",
               "    return bordered[:, :, :H, :W]"))),
    ("2.3", "channels dealt out in turn",
     replaced(("cols = im2col(x[:, seen],", "cols = im2col(x[:, g::groups],"))),
    ("2.3", "the first biases for every group",
     replaced(("+ b[made]  #", "+ b[:O // groups]  #"))),
    ("3.2", "gradients added in place",
     replaced(("            if source in flight:\n                flight[source] = flight[source] + g\n"
               "            else:\n                flight[source] = g\n            waiting",
               "            if source in flight:\n                flight[source] += g\n"
               "            else:\n                flight[source] = g\n            waiting"))),
    ("4.1", "gx without the stride",
     appended(CONV_BACKWARD_LOOPS.format(
         op="+=", w="w[o]", gx="gxp[:, :, P:P + x.shape[2], P:P + x.shape[3]]",
         result="gx, gw, gy.sum(axis=(0, 2, 3))").replace(
             "gxp[n, c, r, s]", "gxp[n, c, i:i + KH, j:j + KW]"))),
    ("4.2", "the last of equal ones", pool(winner="size * size - 1 - cell[::-1, ::-1].argmax()")),
    ("5.1", "times y, not times y > 0", replaced(("return gy * (y > 0)", "return gy * y"))),
    ("5.1", "leaky", replaced(("return gy * (y > 0)", "return np.where(y > 0, gy, 0.01 * gy)"))),
    ("5.2", "the stride of the columns is the size",
     replaced(("columns = slice(j, j + (OW - 1) * stride + 1, stride)\n            y =",
               "columns = np.minimum(j + np.arange(OW) * size, W - 1)\n            y ="))),
    ("5.3", "shared over the whole window",
     replaced(("gx[:, :, rows, columns] += won * gy[:, :, oh, ow][:, :, None, None]",
               "gx[:, :, rows, columns] += gy[:, :, oh, ow][:, :, None, None] / size ** 2"))),
    ("6.1", "absolute values for squares",
     replaced((SUM_OF_SQUARES, "window_sum(abs(x), size // 2, size - 1 - size // 2)"))),
    ("6.1", "alpha divided by the channels that are there",
     replaced((SUM_OF_SQUARES, "window_sum(x * x, size // 2, size - 1 - size // 2)"
               " / window_sum(np.ones_like(x), size // 2, size - 1 - size // 2)"))),
    ("6.1", "a window of rows, not of channels",
     replaced((SUM_OF_SQUARES,
               "window_sum((x * x).swapaxes(1, 2), size // 2, size - 1 - size // 2).swapaxes(1, 2)"))),
    ("6.2", "gy outside of the sum",
     replaced(("cross = gy * x * scale", "cross = x * scale"),
              ("2 * alpha * beta * x * neighbours", "2 * alpha * beta * x * gy * neighbours"))),
    ("7.1", "the silent ones are kept",
     replaced(("    return x * kept * scale", "    return x * (1 - kept) * scale"))),
    ("7.2", "times the colour, not plus",
     replaced(("return (images + shift) /", "return images * (1 + shift) /"))),
    ("7.4", "one mask for ever",
     replaced(("        self.kept = self.rng.random(x.shape) >= self.p\n",
               "        if not hasattr(self, 'kept'):\n"
               "            self.kept = self.rng.random(x.shape) >= self.p\n"))),
    ("8.1", "decay of the weights after the step",
     replaced(("    v -= weight_decay * lr * w\n    v -= lr * g\n    w += v",
               "    v -= lr * g\n    w += v\n    w -= weight_decay * lr * w"))),
    ("8.1", "momentum of the gradient only: (1 - momentum) g",
     replaced(("v -= lr * g", "v -= (1 - momentum) * lr * g"))),
    ("8.2", "softmax over the images",
     appended(SOFTMAX.format(
         z="logits - logits.max(axis=1, keepdims=True)", loss="-np.log(p[rows, labels]).mean()",
         where="rows, labels", result="loss, gradient / len(labels)").replace(
             "e.sum(axis=1, keepdims=True)", "e.sum(axis=0)"))),
    ("8.2", "the sum of the losses",
     softmax(loss="(np.log(e.sum(axis=1)) - (logits - logits.max(axis=1, keepdims=True))"
                  "[rows, labels]).sum()")),
    ("8.2", "a logarithm to base 2",
     softmax(loss="(np.log2(e.sum(axis=1)) - (logits - logits.max(axis=1, keepdims=True))"
                  "[rows, labels] / np.log(2)).mean()")),
    ("8.4", "save without copies",
     replaced(("    return {\"w\": run[\"w\"].copy(), \"v\": run[\"v\"].copy(), \"step\"",
               "    return {\"w\": run[\"w\"], \"v\": run[\"v\"], \"step\""))),
    ("9.3", "the bias of the first device for both",
     replaced(("b[kernels], stride, padding, 1)", "b[:O // 2], stride, padding, 1)"))),
)

RIGHT = (
    ("4.1", "loops", loops()),
    ("4.2", "loops", pool()),
    ("5.1", "np.where",
     appended("def relu_backward(gy, y):\n    return np.where(y > 0, gy, 0.0).astype(gy.dtype)\n"
              "def relu(x):\n    return np.where(x > 0, x, 0.0).astype(x.dtype)\n")),
    ("6.2", "Caffe's form",
     replaced(("cross = gy * x * scale ** (-beta - 1)",
               "cross = gy * (x * scale ** -beta) / scale"))),
    ("6.1", "float32 inside",
     replaced(("    scale = k + alpha", "    x = x.astype(np.float32)\n    scale = k + alpha"))),
    ("7.1", "a copy of x at test time", replaced(("else x\n", "else x.copy()\n"))),
    ("8.2", "a loss of float32", softmax(result="np.float32(loss), gradient / len(labels)")),
    ("8.1", "new arrays, then v[...] =",
     replaced(("    v *= momentum\n    v -= weight_decay * lr * w\n    v -= lr * g\n",
               "    v[...] = momentum * v - lr * (weight_decay * w + g)\n"))),
    ("1.1", "a dataclass",
     replaced(('"""Solutions of lesson 1', 'from __future__ import annotations\n"""Solutions'),
              ("", "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int = 0\n"))),
    ("2.2", "np.add.at",
     replaced((TWO_LOOPS,
               "    at = np.ogrid[:N, :OH, :OW, :C, :KH, :KW]\n"
               "    np.add.at(bordered, (at[0], at[3], at[1] * stride + at[4],\n"
               "        at[2] * stride + at[5]), taps)\n"
               "    for kh in range(0):\n        for kw in range(KW):\n"))),
)
