/* A study as text: as a file for `spezia run`, and as a call of curl. */

const PLAIN = /^[A-Za-z_][A-Za-z0-9_.\/-]*$/;
const WORDS = new Set(["null", "true", "false", "yes", "no", "on", "off", "nan", "inf"]);

/* Returns YAML of two levels of blocks; what lies deeper stands on one line. A string of JSON is one of YAML. */
export function yaml(spec) {
  const lines = [];
  for (const [name, value] of Object.entries(spec)) {
    if (isObject(value) && Object.keys(value).length) {
      lines.push(`${name}:`);
      for (const [key, inner] of Object.entries(value)) lines.push(`  ${scalar(key)}: ${flow(inner)}`);
    } else {
      lines.push(`${name}: ${flow(value)}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

export function curl(spec, origin, needsKey) {
  const key = needsKey ? " -H \"Authorization: Bearer $SPEZIA_API_KEY\"" : "";
  const body = JSON.stringify(spec, null, 2).replaceAll("'", "'\\''");
  return `curl${key} -X POST ${origin}/v1/studies -H 'Content-Type: application/json' -d '${body}'\n`;
}

function flow(value) {
  if (Array.isArray(value)) return `[${value.map(flow).join(", ")}]`;
  if (!isObject(value)) return scalar(value);
  return `{${Object.entries(value).map(([key, inner]) => `${scalar(key)}: ${flow(inner)}`).join(", ")}}`;
}

function scalar(value) {
  if (typeof value !== "string") return JSON.stringify(value);
  if (PLAIN.test(value) && !WORDS.has(value.toLowerCase())) return value;
  return JSON.stringify(value).replace(/[\x7f-\x9f\u2028\u2029\ufeff]/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function isObject(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
