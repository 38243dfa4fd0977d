// @gradio/client, of the version named, against a server: each row of the table prints one JSON line.
// Usage: node gradio_driver.mjs URL PACKAGE FOLDER ROW[=ARGUMENT]…
import { readFileSync, writeFileSync } from "node:fs";

const [url, name, folder, ...asked] = process.argv.slice(2);
const { Client, handle_file } = await import(name);
console.log = (...words) => console.error(...words); // the older client tells of itself

const connect = () => Client.connect(url, { events: ["data", "status"] });
const predict = async (app, api, data) => (await app.predict(api, data)).data[0];

const raised = async (action) => {
  try {
    return { value: await action() };
  } catch (error) {
    return { text: error.message, code: error.code ?? null, title: error.title ?? null };
  }
};

// What a submission says until its end; `act` is called with the values so far.
const follow = async (job, act = () => {}) => {
  const values = [];
  for await (const event of job) {
    if (event.type === "data") values.push(structuredClone(event.data[0])); // the client goes on changing it
    if (event.type === "status" && ["complete", "error"].includes(event.stage))
      return { values, stage: event.stage, text: event.message ?? null };
    await act(values);
  }
  return { values, stage: "ended" };
};

const rows = {
  view_api: async () => (await connect()).view_api(),
  predict: async () => {
    const app = await connect();
    return [
      await predict(app, "/speak", ["hi", "loud", 2]),
      await predict(app, "/speak", { message: "hi", times: 2 }),
      await predict(app, "/chat", ["hi"]),
    ];
  },
  iterate: async () => follow((await connect()).submit("/speak", ["abc"])),
  whole: async () => follow((await connect()).submit("/whole", ["hi"])),
  thoughts: async () => follow((await connect()).submit("/think", ["hi"])),
  turns: async () => {
    const app = await connect();
    const said = [];
    for (const word of ["a", "b", "c"]) said.push(await predict(app, "/speak", [word]));
    return said;
  },
  cancel: async () => {
    const app = await connect();
    const job = app.submit("/slow", ["go"]);
    const ended = await follow(job, async (values) => values.length === 3 && (await job.cancel()));
    return { ended, next: await predict(app, "/slow", ["brief"]) };
  },
  errors: async () => {
    const app = await connect();
    return {
      late: await follow(app.submit("/speak", ["late"])),
      shown: await raised(() => predict(app, "/speak", ["refuse"])),
      hidden: await raised(() => predict(app, "/speak", ["break"])),
      invalid: await raised(() => predict(app, "/speak", ["hi", "calm", 9])),
      next: await predict(app, "/whole", ["hi"]),
    };
  },
  files: async () => {
    const path = `${folder}/small.txt`;
    writeFileSync(path, "words");
    const app = await connect();
    const ask = (text, file) => predict(app, "/files", [{ text, files: [file] }]);
    const loud = await ask("loud", handle_file(path));
    return {
      read: await ask("read", handle_file(path)),
      blob: await ask("read", new Blob([readFileSync(path)])),
      loud: [loud.orig_name, loud.meta._type, await (await fetch(loud.url)).text()],
      again: await ask("read", loud),
    };
  },
  queue: async () => {
    const [first, second] = [await connect(), await connect()];
    const running = first.submit("/slow", ["go"]);
    while ((await running.next()).value.type !== "data");
    const statuses = [];
    let value;
    for await (const event of second.submit("/slow", ["brief"])) {
      if (event.type === "data") value = event.data[0];
      if (event.type !== "status") continue;
      if (event.stage === "complete") break;
      statuses.push([event.stage, event.position ?? null, event.size ?? null]);
      if (statuses.length === 2) await running.cancel();
    }
    return { waits: statuses[1], value };
  },
  at_once: async () => {
    const app = await connect();
    return Promise.all([0, 1, 2, 3, 4].map((number) => predict(app, "/speak", [`job ${number}`])));
  },
  silence: async () => predict(await connect(), "/pause", ["pause"]),
  terminated: async (pid) => {
    const app = await connect();
    return follow(app.submit("/slow", ["go"]), (values) => values.length === 1 && process.kill(Number(pid), "SIGTERM"));
  },
};

for (const row of asked) {
  const [name, argument] = row.split("=");
  process.stdout.write(`${JSON.stringify(await rows[name](argument))}\n`);
}
process.exit(0); // Node keeps idle connections open for a while
