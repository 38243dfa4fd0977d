import asyncio


async def respond(message, history):
    await asyncio.sleep(0)
    return message.upper()
