// One module for each kind of reply. To add one: write it beside these, and name it here.
//
//   matches(reply)   is it a reply of this kind?
//   answer(reply)    its words in one line, for screen readers
//   label(reply)     by which pictures are filtered; labelText(label) in the reader's language
//   order            labels from the best to the worst, or null: as they come
//   tone(label)      the name of its colour: excellent, good, fair, poor or plain
//   value(reply)     by which pictures are sorted, higher is better
//   body(reply)      an element
//   row(reply)       columns of its own in the CSV file
//   mapWords         what is said of its map, by the words for a score's; null: it has none
import * as classes from "./classes.js";
import * as quality from "./quality.js";

const KINDS = [quality, classes];

/** Return the module for a reply. */
export function kindOf(reply) {
  return KINDS.find((kind) => kind.matches(reply)) ?? classes;
}
