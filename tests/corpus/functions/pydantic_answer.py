from pydantic import BaseModel


class Weather(BaseModel):
    city: str
    degrees: int


def predict(message, history):
    return Weather(city=message, degrees=21)
