"""A small convolutional network that reads handwritten digits, in the functional form.

Run it with `python examples/digits_convnet.py`; the digits come with scikit-learn. A convolution
slides small patterns over the image: what is learned in one corner holds in all of them. Dropout,
and images that are moved about, keep the network from learning single images by heart.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import tinygrad_edu as edu
from tinygrad_edu import layers

generator = np.random.default_rng(0)


def moved(images: np.ndarray, digits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A batch of images, each moved by up to one pixel up or down and left or right."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    down, right = generator.integers(0, 3, size=(2, len(images)))
    rows, columns = down[:, None] + np.arange(8), right[:, None] + np.arange(8)
    return padded[np.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None]], digits


def main() -> None:
    edu.random.seed(0)
    digits = load_digits()
    images = (digits.images[..., None] / 16).astype("float32")  # (1797, 8, 8, 1): one channel
    split = train_test_split(images, digits.target, random_state=0, stratify=digits.target)
    x_train, x_test, y_train, y_test = split

    # Calling a layer on a symbolic Tensor says what is to be computed; Model takes it from its
    # inputs to its outputs.
    inputs = edu.Input((8, 8, 1))
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(inputs)  # (8, 8, 16)
    y = layers.Conv2D(16, 3, padding="same")(x)
    x = layers.ReLU()(x + y)  # a residual connection: the second convolution learns what to add
    x = layers.MaxPooling2D()(x)  # (4, 4, 16): of each 2x2 square the largest
    x = layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    x = layers.Dropout(0.3)(layers.Flatten()(x))  # (512,); in training, 30 % of the values become 0
    outputs = layers.Dense(10, activation="softmax")(x)
    model = edu.Model(inputs, outputs)
    model.summary()

    # A Dataset makes batches as they are asked for: here moved a bit, in another thread.
    data = edu.data.Dataset.from_arrays((x_train, y_train)).shuffle().batch(32)
    data = data.map(moved).prefetch()

    # The learning rate falls along half a cosine, to 0 after the last step.
    epochs = 12
    rate = edu.schedules.CosineDecay(4e-3, decay_steps=epochs * len(data))
    model.compile(
        edu.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    model.fit(data, epochs=epochs, validation_data=(x_test, y_test), verbose=2)

    guesses = np.argmax(model.predict(x_test, verbose=0), axis=1)
    print(f"accuracy on unseen digits {np.mean(guesses == y_test):.2%}")
    print("rows: the digit, columns: what the network says")
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (y_test, guesses), 1)
    print(confusion)


if __name__ == "__main__":
    main()
