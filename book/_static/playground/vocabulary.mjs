// From captions to integers, as in mmgen/data/vocabulary.py.

const CHINESE = /[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u{20000}-\u{323af}]/u;
// They choose between forms of the character before them, such as emoji and text.
const VARIATIONS = /[\u034f\u180b-\u180f\ufe00-\ufe0f\u{e0100}-\u{e01ef}]/u;
const ZERO_WIDTH_SPACE = "\u200b"; // cannot be seen, and parts words all the same
// what Python takes for spaces and JavaScript does not
const MORE_SPACES = /[\x1c-\x1f\x85]/;
const WORDS = /h|[adw](?:[adwmi]*[adwm])?(?:'[awm]+)?|[sm][smi]*/g;

// What a character of a caption in lower case is, as a letter.
function kind(character) {
  if (/[0-9]/.test(character)) return "d";
  if (/[a-z]/i.test(character)) return "a";
  if (character === "'") return character;
  if (CHINESE.test(character)) return "h";
  if (/\p{M}/u.test(character)) return VARIATIONS.test(character) ? "i" : "m";
  if (/\p{Cf}/u.test(character)) return character === ZERO_WIDTH_SPACE ? " " : "i";
  if (/[\p{Z}\p{P}\s]/u.test(character) || MORE_SPACES.test(character)) return " ";
  return /[\p{L}\p{N}]/u.test(character) ? "w" : "s";
}

// A character in letters of vocabularies, if any: "ｒ" is r, "é" e and a mark.
function form(character) {
  const parts = [...character.replace("’", "'").normalize("NFKD").toLowerCase()];
  return parts.some((part) => "adh'".includes(kind(part))) ? parts : [character];
}

// A caption in lower case, without marks on plain letters and what is not seen.
function plain(caption) {
  const kept = [];
  let before = " ";
  for (const part of [...caption.toLowerCase()].flatMap(form)) {
    const found = kind(part);
    const onLetter = "wsm".includes(before) || (before === " " && found === "m");
    if (!"mi".includes(found) || onLetter) {
      kept.push(part);
      before = found === "i" ? before : found;
    }
  }
  return kept;
}

// Words of an English caption in lower case, characters of a Chinese one.
export function tokenize(caption) {
  const text = plain(caption);
  return [...text.map(kind).join("").matchAll(WORDS)].map((match) =>
    text.slice(match.index, match.index + match[0].length).join(""),
  );
}

// A caption that a model cannot read; its message says why.
export class UnreadableError extends Error {}

export class Vocabulary {
  constructor({ tokens }) {
    this.tokens = tokens;
    this.index = new Map(tokens.map((token, i) => [token, i]));
  }

  /**
   * A caption as a model reads it.
   *
   * @param {string} caption
   * @param {number} maxTokens T; what is longer is cut.
   * @returns tokens (T), the words that were read, those that are unknown, and those
   *   that were cut off.
   * @throws {UnreadableError} a caption without any word that the model knows.
   */
  read(caption, maxTokens) {
    const words = tokenize(caption);
    const known = words.map((word) => this.index.has(word));
    if (!words.length) throw new UnreadableError("The caption is empty: write a word.");
    if (!known.some(Boolean)) {
      throw new UnreadableError(
        `The model knows no word of this caption: ${words.join(", ")}. Write for ` +
          "example: a red star.",
      );
    }
    if (!known.slice(0, maxTokens).some(Boolean)) {
      throw new UnreadableError(
        `The caption is too long: only its first ${maxTokens} words are read, and the ` +
          "model knows none of them.",
      );
    }
    const kept = words.slice(0, maxTokens);
    const tokens = new BigInt64Array(maxTokens);
    kept.forEach((word, i) => {
      tokens[i] = BigInt(this.index.get(word) ?? 1);
    });
    return {
      tokens,
      words: kept,
      unknown: [...new Set(words.filter((_, i) => !known[i]))],
      cut: words.slice(maxTokens),
    };
  }

  // What is read where no caption is given: one of length 0.
  none(maxTokens) {
    return { tokens: new BigInt64Array(maxTokens), words: [], unknown: [], cut: [] };
  }
}
