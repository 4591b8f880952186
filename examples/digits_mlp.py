"""A perceptron with two hidden layers that reads handwritten digits: compile, fit, evaluate,
predict.

Run it with `python examples/digits_mlp.py`; the digits come with scikit-learn. An image is 8x8
grey values; to this network it is just a list of 64 numbers.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import tinygrad_edu as edu
from tinygrad_edu import layers


def main() -> None:
    edu.random.seed(0)  # the same weights and the same order of the batches in each run

    # x of shape (1797, 64) with values from 0 to 16, y of shape (1797,): which digit it is. A
    # quarter is put aside: only images that the network never saw tell what it has learned.
    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=0, stratify=y)

    # Each Dense layer is relu(inputs @ kernel + bias). The last one gives a score for each digit
    # (logits); the loss makes probabilities of them.
    model = edu.Sequential(
        [
            edu.Input((64,)),
            layers.Rescaling(1 / 16),
            layers.Dense(64, activation="relu"),
            layers.Dense(64, activation="relu"),
            layers.Dense(10),
        ]
    )
    model.summary()

    # The loss is what the optimizer makes small; metrics are for us to look at.
    model.compile(
        optimizer=edu.optimizers.Adam(learning_rate=1e-3),
        loss=edu.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    history = model.fit(x_train, y_train, batch_size=32, epochs=30, verbose=0).history
    for epoch in (1, 2, 5, 10, 30):
        loss, accuracy = history["loss"][epoch - 1], history["accuracy"][epoch - 1]
        print(f"epoch {epoch:2}  loss {loss:.4f}  accuracy {accuracy:.2%}")

    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"on unseen digits: loss {loss:.4f}, accuracy {accuracy:.2%}")

    # predict gives a row of 10 scores for each image; the largest is the network's guess.
    guesses = np.argmax(model.predict(x_test, verbose=0), axis=1)
    wrong = np.flatnonzero(guesses != y_test)
    print(f"{len(wrong)} of {len(y_test)} are wrong")
    first = wrong[0]
    print(f"such as this {y_test[first]}, which it took for a {guesses[first]}:")
    for row in x_test[first].reshape(8, 8):
        print("".join([" .:*#"[int(value) // 4] * 2 for value in row]))


if __name__ == "__main__":
    main()
