// The verdict of the exact measure on a drawn picture. Loaded with the first model.

import { CaptionError, parse } from "./shapes/parsing.mjs";
import * as measure from "./shapes/verdict.mjs";

// What a caption demands, or why it cannot be said.
export function demandOf(caption) {
  try {
    return { demand: parse(caption), why: null };
  } catch (error) {
    if (!(error instanceof CaptionError)) throw error;
    return { demand: null, why: error.message };
  }
}

// What a picture shows, and, where something is demanded, the verdict with its reasons.
export function judge({ pixels, side }, demand) {
  const seen = measure.read(pixels, side);
  if (demand) return measure.judge(demand, seen);
  return { right: false, verdict: null, shown: measure.shown(seen) };
}
