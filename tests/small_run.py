"""A run as training leaves it, made without training: initial weights, a mean image, a log."""

import minitorch_alex as mt
from minitorch_alex import data, models
from minitorch_alex.training import checkpoint
from minitorch_alex.training.runs import Run


def make_run(directory, name="quick_26", dataset="shapes", seed=0, n_train=40, **fields):
    """(directory of a run of the model `name`, the model); `fields` change its configuration."""
    mt.manual_seed(seed)
    model = models.build(name, **fields)
    run = Run(directory)
    config = {
        "model": name,
        "model_fields": fields,
        "preset_edition": models.PRESET_EDITION,
        "num_classes": 10,
        "recipe": model.recipe.to_json(),
        "data": dataset,
        "data_dir": "data",
        "data_size": 32,
        "val_split": 0.0,
        "limit": n_train,
        "seed": seed,
    }
    mean = data.make_shapes(n_train, 32).mean_image()
    state = {f"model.{key}": array for key, array in model.state_dict().items()}
    meta = {"model": name, "epoch": 1}
    checkpoint.save(run.checkpoint, {**state, "data.mean": mean}, meta)
    run.write_json(run.config, config)
    for epoch in (1, 2):
        run.append_log({
            "kind": "epoch",
            "step": epoch,
            "epoch": epoch,
            "train_loss": 2 / epoch,
            "train_error": 60,
            "val_loss": 2.1 / epoch,
            "val_error": 62,
            "lr": 0.01,
        })
    return run.directory, model
