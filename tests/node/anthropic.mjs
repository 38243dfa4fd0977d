// The @anthropic-ai/sdk package, driven as its users do. Argument: the server's address.
// Prints one line per thing that was tried: its name and what came of it.

import Anthropic from "@anthropic-ai/sdk";
import { betaTool } from "@anthropic-ai/sdk/helpers/beta/json-schema";

const client = new Anthropic({ baseURL: process.argv[2], apiKey: "unused" });
const asked = { model: "assistant", max_tokens: 100 };
const user = (content) => ({ role: "user", content });
const print = (name, value) => console.log(JSON.stringify([name, value]));
const create = (content, options = {}) => client.messages.create({ ...asked, messages: [user(content)], ...options });
const report = async (content) => JSON.parse((await create(content)).content[0].text);

async function refused(attempt) {
  try {
    await attempt();
    return "no error";
  } catch (error) {
    const said = error.error?.error;
    return { kind: error.constructor.name, status: error.status ?? null, type: said?.type, message: said?.message };
  }
}

const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const weather = { name: "weather", description: "Tell the weather.", input_schema: schema };

const models = [];
for await (const model of client.models.list({ limit: 1 })) models.push(model.id);
print("models", [models, (await client.models.retrieve("reader")).display_name]);

const whole = await create("say one two");
print("whole", [whole.content, whole.stop_reason, whole.usage.input_tokens, whole.usage.output_tokens]);

const deltas = [];
const helper = client.messages.stream({ ...asked, messages: [user("say one two")] });
helper.on("text", (delta) => deltas.push(delta));
const streamed = await helper.finalMessage();
print("streamed", [deltas, streamed.content[0].text, streamed.stop_reason, streamed.usage.input_tokens]);

const events = [];
for await (const event of await create("say one", { stream: true })) events.push(event.type);
print("events", events);

const history = [user("say hello"), { role: "assistant", content: "hello " }, user("history")];
print("history", JSON.parse((await create("", { system: "Be brief.", messages: history })).content[0].text));

for (const name of ["thinking", "thinking streamed"]) {
  const messages = [user("think of three words")];
  const isStreamed = name !== "thinking";
  const message = isStreamed
    ? await client.messages.stream({ ...asked, messages }).finalMessage()
    : await create("think of three words");
  print(name, message.content.map((block) => block.thinking ?? block.text));
}

const calls = client.messages.stream({ ...asked, tools: [weather], messages: [user("call Paris Rome")] });
const pieces = [];
calls.on("inputJson", (piece) => pieces.push(piece));
const called = await calls.finalMessage();
print("calls", [called.content.map(({ id, name, input }) => [id, name, input]), called.stop_reason, pieces.join("")]);

const results = called.content.map(({ id }) => ({ type: "tool_result", tool_use_id: id, content: `${id}!` }));
const told = [user("call Paris Rome"), { role: "assistant", content: called.content }, user(results)];
print("results", (await create("", { messages: told, tools: [weather] })).content[0].text);

const run = ({ city }) => `sun in ${city}`;
const tool = betaTool({ name: "weather", description: "Tell the weather.", inputSchema: schema, run });
const runner = client.beta.messages.toolRunner({ ...asked, tools: [tool], messages: [user("call Paris")] });
print("runner", (await runner).content[0].text);

print("tokens", (await client.messages.countTokens({ model: "assistant", messages: [user("x".repeat(40))] })).input_tokens);
print("unknown model", await refused(() => create("hi", { model: "claude-9" })));
print("bad request", await refused(() => create([{ type: "container_upload", file_id: "x" }])));
print("failure", await refused(() => create("fail now by node 500")));
for (const when of ["now", "later"]) {
  const messages = [user(`fail ${when} in a stream of node 500`)];
  const finished = () => client.messages.stream({ ...asked, messages }).finalMessage();
  print(`failure ${when} in a stream`, await refused(finished));
}
print("runs", [
  await report("runs fail now by node 500"),
  await report("runs fail now in a stream of node 500"),
  await report("runs fail later in a stream of node 500"),
]);

for await (const event of await create("wait for node", { stream: true })) {
  if (event.type === "content_block_delta") break; // leaves the stream, and closes it
}
let left = await report("runs wait for node");
for (let tries = 0; tries < 500 && left[1] === 0; tries++) left = await report("runs wait for node");
print("left", left);
