// The openai package, as front ends use it, against Responses. Arguments: base URL, folder of a test's own, package name.
import { writeFileSync } from "node:fs";

const [url, folder, name] = process.argv.slice(2);
const { default: OpenAI, APIError } = await import(name);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "any", maxRetries: 2 });
const model = "assistant";
const say = (what, value) => console.log(JSON.stringify({ [what]: value }));
const tools = [{ type: "function", name: "weather", parameters: { type: "object", properties: {} }, strict: false }];

const created = await client.responses.create({ model, input: "say héllo wörld", metadata: { a: "b" } });
say("created", [created.status, created.output_text, created.usage.total_tokens, created.metadata]);
const retrieved = await client.responses.retrieve(created.id);
say("retrieved", JSON.stringify(retrieved.output) === JSON.stringify(created.output));

const types = [];
for await (const event of await client.responses.create({ model, input: "say one two", stream: true })) types.push(event.type);
say("types", types);

async function help(params) {
  const stream = client.responses.stream({ model, ...params });
  const deltas = [];
  stream.on("response.output_text.delta", (event) => deltas.push(event.delta));
  const final = await stream.finalResponse();
  return [deltas, final.output.map((item) => item.type), final.output_text, final.status];
}
say("helper", await help({ input: "say one two three" }));
say("thinking", await help({ input: "think 42" }));
say("server tool", await help({ input: "lookup Paris" }));
say("data", await help({ input: "weigh it" }));
say("sources", await help({ input: "cite rain" }));
say("pieces", (await help({ input: "call Paris Rome", tools }))[1]);
say("cut", await help({ input: "cut short" }));

const called = await client.responses.create({ model, input: "call Paris", tools });
const output = called.output.map((call) => ({ type: "function_call_output", call_id: call.call_id, output: "sun" }));
const answered = await client.responses.create({ model, input: output, previous_response_id: called.id });
say("tools", answered.output_text);

const follow = await client.responses.create({ model, input: "history", previous_response_id: created.id });
say("history", JSON.parse(follow.output_text));

const conversation = await client.conversations.create({ metadata: { topic: "a" } });
await client.responses.create({ model, input: "say a", conversation: conversation.id });
const items = [];
for await (const item of client.conversations.items.list(conversation.id, { order: "asc", limit: 1 })) items.push(item.role);
say("conversation", items);

// A stream that breaks off in the middle goes on where it was, with and without the helper.
const broken = await client.responses.create({ model, input: `hold ${folder} three`, background: true, stream: true });
const seen = [];
for await (const event of broken) {
  seen.push(event);
  if (event.type === "response.output_text.delta") break;
}
const id = seen[0].response.id;
const after = seen.at(-1).sequence_number;
say("polled", (await client.responses.retrieve(id)).status);
writeFileSync(`${folder}/go`, "");
const rest = [];
for await (const event of await client.responses.retrieve(id, { stream: true, starting_after: after })) rest.push(event);
say("resumed", [...seen, ...rest].map((event) => event.sequence_number));
const helped = client.responses.stream({ response_id: id, starting_after: after });
const numbers = [];
helped.on("event", (event) => numbers.push(event.sequence_number));
say("helped", [(await helped.finalResponse()).output_text, numbers[0] === after + 1]);

const waiting = await client.responses.create({ model, input: `hold ${folder}/never`, background: true });
say("cancelled", (await client.responses.cancel(waiting.id)).status);
await client.responses.delete(waiting.id);

for (const [what, attempt] of Object.entries({
  gone: () => client.responses.retrieve(waiting.id),
  model: () => client.responses.create({ model: "gpt-none", input: "hi" }),
  previous: () => client.responses.create({ model, input: "hi", previous_response_id: "resp_none" }),
  failed: () => client.responses.create({ model, input: "fail in node" }),
  "failed late": () => client.responses.stream({ model, input: "fail later in node" }).finalResponse(),
})) {
  try {
    const got = await attempt();
    say(what, [got.status, got.error?.code]);
  } catch (error) {
    say(what, error instanceof APIError ? [error.status, error.code] : [String(error.message)]);
  }
}
say("runs", (await client.responses.create({ model, input: "runs fail in node" })).output_text);
