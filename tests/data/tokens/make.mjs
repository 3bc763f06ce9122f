// Counts the tokens of the texts in texts.json and writes the counts beside them, one text a line.
// With node 20 or newer, in an empty folder outside the repository that REPO names:
//
//     npm install js-tiktoken@1.0.21
//     cp $REPO/tests/data/tokens/make.mjs . && node make.mjs $REPO
import { readFileSync, writeFileSync } from "node:fs";
import { Tiktoken } from "js-tiktoken/lite";
import cl100k from "js-tiktoken/ranks/cl100k_base";
import o200k from "js-tiktoken/ranks/o200k_base";

const file = `${process.argv[2]}/tests/data/tokens/texts.json`;
const encodings = { o200k: new Tiktoken(o200k), cl100k: new Tiktoken(cl100k) };

function counted(entry) {
  for (const [name, encoding] of Object.entries(encodings))
    entry[name] = encoding.encode(entry.text, [], []).length; // no text is a special token
  return JSON.stringify(entry);
}

const lines = JSON.parse(readFileSync(file, "utf8")).map(counted);
writeFileSync(file, `[\n${lines.join(",\n")}\n]\n`);
