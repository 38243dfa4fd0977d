def predict(message, history):
    yield "Grüße 👩‍👩‍👧\u2028"
    yield "Grüße 👩‍👩‍👧\u2028\r\n\tzwei\u0085drei"
