"""A whole training: a small convolutional network learns to tell ten classes of images apart.

    python examples/cifar10.py                  CIFAR-10, downloaded to data/ the first time
    python examples/cifar10.py --data shapes    drawn images, without a download
"""
import argparse

import numpy as np

import minitorch_alex as mt
from minitorch_alex import data, nn

parser = argparse.ArgumentParser(description="Train a small network on CIFAR-10 or on shapes.")
parser.add_argument("--data", choices=("cifar10", "shapes"), default="cifar10")
parser.add_argument("--limit", type=int, help="train on the first N images only")
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--floor", type=float, default=70, help="exit with 1 below this accuracy")
args = parser.parse_args()
mt.manual_seed(0)  # the same weights, and so the same accuracy, every time

# Data: bytes become batches of float32 (N, 3, 32, 32), shifted by up to 2 pixels and mirrored.
train, test = data.load(args.data, "data", download=True)
transform = data.Transform(train.mean_image(), pad=2, flip=True)
loader = data.Loader(train.subset(slice(args.limit)), 64, transform, seed=0)
test_loader = data.Loader(test, 250, transform.eval(), shuffle=False)

# The network: three times convolution, ReLU and pooling; then one layer that decides.
net = nn.Sequential(
    nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),    # -> (N, 32, 16, 16)
    nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),   # -> (N, 64, 8, 8)
    nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),  # -> (N, 128, 4, 4)
    nn.Flatten(), nn.Linear(128 * 4 * 4, 10))                      # -> (N, 10)
optimizer = mt.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, weight_decay=0.0005)
schedule = mt.schedule.ExponentialLR(optimizer, gamma=0.6)

for epoch in range(args.epochs):
    for images, labels in loader.epoch(epoch):
        optimizer.zero_grad()
        logits = net(mt.Tensor(images / 64))  # -128..128 becomes -2..2, which trains better
        loss = mt.functional.cross_entropy(logits, labels)
        loss.backward()
        optimizer.step()
    schedule.step()
    print(f"epoch {epoch + 1}   loss of the last batch {loss.item():.3f}")

with nn.evaluating(net), mt.no_grad():
    logits = [net(mt.Tensor(images / 64)).data for images, _ in test_loader.epoch(0)]
accuracy = 100 * np.mean(np.concatenate(logits).argmax(axis=1) == test.labels)
print(f"test accuracy {accuracy:.1f} %")
raise SystemExit(0 if accuracy >= args.floor else 1)
