// Makes server/turnkeep_server/vocabulary.json.gz: the pieces of text that OpenAI's tokenizers know.
// With node 20 or newer, in an empty folder outside the repository that REPO names:
//
//     npm install js-tiktoken@1.0.21
//     cp $REPO/scripts/vocabulary.mjs . && node vocabulary.mjs $REPO
//
// Kept is a piece that is text, and one that is the first bytes of a character, alone or after a
// space; such bytes are written as Python's "surrogateescape" writes them. Left out are the other
// scraps of characters, and Chinese and Japanese pieces of over four characters: lines of spam, for
// the most part, that no text has. The ranks are left out too: the estimator does without them.
import { writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import cl100k from "js-tiktoken/ranks/cl100k_base";
import o200k from "js-tiktoken/ranks/o200k_base";

const SPACE = 0x20;
const SPAM = /[\u3040-\u9fff]{5}/;

function pieces(vocabulary) {
  const found = new Set();
  for (const line of vocabulary.bpe_ranks.split("\n").filter(Boolean)) {
    for (const token of line.split(" ").slice(2)) {
      const piece = text(Buffer.from(token, "base64"));
      if (piece !== null && !SPAM.test(piece)) found.add(piece);
    }
  }
  return found;
}

function text(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return startsOneCharacter(bytes) ? escaped(bytes) : null;
  }
}

function startsOneCharacter(bytes) {
  const [lead, ...rest] = bytes[0] === SPACE ? bytes.subarray(1) : bytes;
  const size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  const continued = rest.every((each) => each >= 0x80 && each < 0xc0);
  return lead >= 0xc2 && lead <= 0xf4 && rest.length > 0 && rest.length + 1 < size && continued;
}

function escaped(bytes) {
  return String.fromCharCode(...[...bytes].map((each) => (each < 0x80 ? each : 0xdc00 + each)));
}

function those(all, wanted) {
  return [...all].filter(wanted).sort((a, b) => (a < b ? -1 : 1));
}

const newer = pieces(o200k);
const older = pieces(cl100k);
const vocabulary = {
  both: those(newer, (each) => older.has(each)),
  o200k: those(newer, (each) => !older.has(each)),
  cl100k: those(older, (each) => !newer.has(each)),
};
const packed = gzipSync(JSON.stringify(vocabulary), { level: 9 });
writeFileSync(`${process.argv[2]}/server/turnkeep_server/vocabulary.json.gz`, packed);
