"""The shapes in which chat functions get history. A new shape is one new file here and one line below."""

from chatserve.contracts.formats import HistoryFormat
from chatserve.formats.history.gradio5 import Gradio5History
from chatserve.formats.history.gradio6 import Gradio6History
from chatserve.formats.history.messages import MessagesHistory
from chatserve.formats.history.tuples import TuplesHistory

HISTORY_FORMATS: dict[str, HistoryFormat] = {
    "messages": MessagesHistory(),
    "tuples": TuplesHistory(),
    "gradio5": Gradio5History(),
    "gradio6": Gradio6History(),
}
