// The openai package for Node.js, driven as its users do. Arguments: the server's address, the package's name.
// Prints one line per thing that was tried: its name and what came of it.

const [url, packageName] = process.argv.slice(2);
const { default: OpenAI } = await import(packageName);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "any", maxRetries: 2 });
const model = "assistant";

const user = (content) => ({ role: "user", content });
const print = (name, value) => console.log(JSON.stringify([name, value]));

async function create(content, options = {}, requestOptions = {}) {
  return client.chat.completions.create({ model, messages: [user(content)], ...options }, requestOptions);
}

async function refused(promise) {
  try {
    await promise;
    return "no error";
  } catch (error) {
    return { kind: error.constructor.name, status: error.status ?? null, code: error.code ?? null };
  }
}

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

const weather = {
  type: "function",
  function: {
    name: "weather",
    description: "The weather of a city",
    parameters: { type: "object", properties: { city: { type: "string" } } },
    parse: JSON.parse,
    function: ({ city }) => `fine in ${city}`,
  },
};
const { function: ran, parse, ...offered } = weather.function;
const tool = { type: "function", function: offered };

const models = await collect(client.models.list());
print("models", [models.map((each) => each.id), (await client.models.retrieve("pictures")).id]);

const whole = await create("say one two");
print("whole", [whole.choices[0].message.content, whole.choices[0].finish_reason, whole.usage.total_tokens]);

const chunks = await collect(await create("say one two", { stream: true, stream_options: { include_usage: true } }));
print("streamed", [
  chunks.map((chunk) => chunk.choices[0]?.delta.content ?? null),
  chunks.at(-1).usage.total_tokens,
  new Set(chunks.map((chunk) => chunk.id)).size,
]);

const helper = client.chat.completions.stream({ model, messages: [user("say one two")] });
const deltas = [];
helper.on("content", (delta) => deltas.push(delta));
const final = await helper.finalChatCompletion();
print("helper", [deltas.join(""), final.choices[0].message.content, final.choices[0].finish_reason]);

// The helper keeps only the last piece of fields it does not know, so reasoning is read from the chunks.
const thought = (await collect(await create("think so", { stream: true }))).map((chunk) => chunk.choices[0].delta);
const joined = (name) => thought.map((delta) => delta[name] ?? "").join("");
const thoughtful = (await create("think so")).choices[0].message;
print("reasoning", [
  [thoughtful.content, thoughtful.reasoning_content, thoughtful.reasoning],
  [joined("content"), joined("reasoning_content"), joined("reasoning")],
]);

print("sources", (await create("cite this")).choices[0].message.annotations[0].url_citation.url);

const messages = [user("call Oslo Rome")];
const called = await client.chat.completions.create({ model, messages, tools: [tool] });
const calls = called.choices[0].message.tool_calls;
const results = calls.map((call, index) => ({ role: "tool", tool_call_id: call.id, content: `${index} degrees` }));
const after = await client.chat.completions.create({
  model,
  messages: [...messages, called.choices[0].message, ...results],
  tools: [tool],
});
print("tools", [
  called.choices[0].finish_reason,
  calls.map((call) => [call.id, call.function.name, call.function.arguments]),
  after.choices[0].message.content,
]);

for (const stream of [false, true]) {
  const runner = client.chat.completions.runTools({ model, stream, messages, tools: [weather] });
  print(stream ? "runner streamed" : "runner", await runner.finalContent());
}

const served = await collect(await create("lookup Oslo", { stream: true }));
print("tools of the server", served.some((chunk) => chunk.choices[0].delta.tool_calls));

const session = await (await fetch(`${url}/sessions`, { method: "POST", headers: { "content-type": "application/json" }, body: "{}" })).json();
const keyed = { headers: { "X-Session-Id": session.session_id } };
await create("say one", {}, keyed);
const before = [user("say one"), { role: "assistant", content: "one " }];
await client.chat.completions.create({ model, messages: [...before, user("say two")] }, keyed);
const kept = await (await fetch(`${url}/sessions/${session.session_id}/messages`)).json();
print("session", kept.items.map((item) => item.content));

const params = await create("settings", { temperature: 1.5, max_completion_tokens: 7, tone: "dry" });
print("settings", JSON.parse(params.choices[0].message.content));

const pixel = "data:image/png;base64,cG5n";
const content = [{ type: "text", text: "see" }, { type: "image_url", image_url: { url: pixel } }];
print("pictures", (await create(content, { model: "pictures" })).choices[0].message.content);

print("unknown model", await refused(create("say hi", { model: "gpt-none" })));
print("bad request", await refused(create("settings", { temperature: "warm" })));
print("failure", await refused(create(`fail at once ${packageName}`)));
print("failure shown", await refused(create("refuse")));
print("failure in mid-stream", await refused(create(`fail later ${packageName}`, { stream: true }).then(collect)));
const failing = client.chat.completions.stream({ model, messages: [user(`fail later helped ${packageName}`)] });
print("failure in the helper", await refused(failing.finalChatCompletion()));

const waiting = await create(`wait for ${packageName}`, { stream: true });
for await (const chunk of waiting) {
  if (chunk.choices[0].delta.content) break; // leaving the loop closes the connection
}
print("left", true);
