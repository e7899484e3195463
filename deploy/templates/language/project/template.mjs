// The chat template that came with a model: messages become the text that it reads. Jinja is run by the npm package @huggingface/jinja.

/** Return the model's chat template, {text, special}, or null; `read(name)` gives a file of the bundle as text, or null. */
export async function readTemplate(read) {
  const named = async (name) => JSON.parse((await read(name)) ?? "{}");
  const config = await named("tokenizer_config.json");
  const text = (await read("chat_template.jinja")) ?? inside(config.chat_template) ?? inside((await named("chat_template.json")).chat_template);
  if (text === null) return null;
  const tokens = { ...(await named("special_tokens_map.json")), ...config };
  const texts = Object.entries(tokens).map(([name, token]) => [name, token?.content ?? token]);
  return { text, special: Object.fromEntries(texts.filter(([name, token]) => name.endsWith("_token") && typeof token === "string")) };
}

/** Return a function from messages, [{role, content}, …], to the text that the model reads before it answers. */
export function compiled(Template, { text, special }) {
  const template = new Template(text);
  return (messages) => template.render({ ...special, messages, tools: null, documents: null, add_generation_prompt: true });
}

/** Return the template in a tokenizer's configuration: a text, or the one called "default" of several. */
function inside(value) {
  if (typeof value === "string") return value;
  return (Array.isArray(value) ? value.find(({ name }) => name === "default")?.template : null) ?? null;
}
