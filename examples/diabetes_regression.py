"""A number instead of a class: how far a patient's diabetes goes within a year.

Run it with `python examples/diabetes_regression.py`; the data (442 patients, 10 measurements each)
comes with scikit-learn. With so little of it, a network soon learns the patients by heart. So a
part is put aside to watch that with (validation), training stops when it gets worse there, and how
good the network is, patients tell that took part in neither.
"""

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import train_test_split

import tinygrad_edu as edu
from tinygrad_edu import layers


def main() -> None:
    edu.random.seed(0)
    x, y = load_diabetes(return_X_y=True, scaled=False)  # x (442, 10) in all kinds of units
    x_rest, x_test, y_rest, y_test = train_test_split(x, y, test_size=0.2, random_state=0)
    split = train_test_split(x_rest, y_rest, test_size=0.25, random_state=0)
    x_train, x_validation, y_train, y_validation = split

    # Networks like numbers around 0 and 1. Mean and deviation come from the training data alone
    # and become part of the model, which takes years and mmHg as they are.
    normalization = layers.Normalization()
    normalization.adapt(x_train)
    denormalization = layers.Normalization(mean=y_train.mean(), variance=y_train.var(), invert=True)

    inputs = edu.Input((10,))
    x = normalization(inputs)
    x = layers.Dense(32, activation="relu", kernel_regularizer=edu.regularizers.L2(1e-3))(x)
    x = layers.Dense(1)(x)
    model = edu.Model(inputs, denormalization(x))

    model.compile(edu.optimizers.Adam(0.01), loss="mean_squared_error", metrics=["mae"])
    stopping = edu.callbacks.EarlyStopping(patience=20, restore_best_weights=True)
    slower = edu.callbacks.ReduceLROnPlateau(patience=8, factor=0.5)
    history = model.fit(
        x_train,
        y_train,
        epochs=300,
        validation_data=(x_validation, y_validation),
        callbacks=[stopping, slower],
        verbose=0,
    ).history

    epochs = len(history["loss"])
    for epoch in [1, *range(10, epochs, 10)]:
        loss, of_validation = (history[name][epoch - 1] for name in ("loss", "val_loss"))
        print(f"epoch {epoch:3}  loss {loss:7.1f}  validation {of_validation:7.1f}")
    print(f"stopped after epoch {epochs}; the weights are those of epoch {stopping.best_epoch + 1}")

    # On patients it has never seen, beside a straight line, and saying the mean to everyone.
    _, error = model.evaluate(x_test, y_test, verbose=0)
    line = LinearRegression().fit(x_rest, y_rest).predict(x_test)
    print(f"mean absolute error of the network: {error:.1f}")
    print(f"of linear regression: {np.mean(np.abs(line - y_test)):.1f}")
    print(f"of the mean: {np.mean(np.abs(y_rest.mean() - y_test)):.1f}")


if __name__ == "__main__":
    main()
