// The AI SDK, to be refused. Arguments: the provider's API (chat, responses, anthropic), a file of cases in JSON.
// Prints what each call shows to its person, one JSON value per line.

import { readFileSync } from "node:fs";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText } from "ai";

const [api, cases] = process.argv.slice(2);

function modelOf({ base_url: baseURL, headers, model }) {
  const settings = { baseURL, headers, apiKey: "any" };
  return api === "anthropic" ? createAnthropic(settings)(model) : createOpenAI(settings)[api](model);
}

globalThis.AI_SDK_LOG_WARNINGS = false;
for (const given of JSON.parse(readFileSync(cases))) {
  const { prompt, temperature } = given;
  try {
    await generateText({ model: modelOf(given), prompt, temperature, maxRetries: 0 });
    console.log(JSON.stringify("answered"));
  } catch (error) {
    console.log(JSON.stringify(`${error.name}: ${error.message}`));
  }
}
