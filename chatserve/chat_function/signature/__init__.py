"""What a chat function takes: each of its parameters is read once, as one of five kinds.

| kind | which parameters |
| --- | --- |
| bound | what `functools.partial` gave a value: neither shown nor settable |
| injected | what asks for the turn by annotation or default: the context, the request, Gradio's stand-ins |
| message, history | the first two of the others |
| input | what a client may send: its type has a JSON Schema, or it has no type, and its default is JSON if it has one |
| kept | all others that have a default: the function keeps it, the very object |

What is left cannot be filled and is refused, like a parameter that another framework would fill. Calls no function.
"""

from chatserve.chat_function.signature.injected import Surroundings
from chatserve.chat_function.signature.inputs import name_of_input
from chatserve.chat_function.signature.reading import Signature, read_signature
from chatserve.chat_function.signature.stand_ins import GradioProgress, GradioRequest

__all__ = ["GradioProgress", "GradioRequest", "Signature", "Surroundings", "name_of_input", "read_signature"]
