/**
 * Cuts Markdown into blocks where a cut cannot change its meaning, so that a growing answer parses only its last block
 * again. A cut stands before a line that follows a blank one, outside any fence, and that starts with neither white
 * space nor a list marker: CommonMark closes every container there.
 */
export function blocksOf(markdown: string): readonly string[] {
  // A definition (of a link or a footnote) reaches over blocks.
  if (/^ {0,3}\[[^\]\n]+\]:/m.test(markdown)) return [markdown];
  const blocks: string[] = [];
  let start = 0;
  let fence: string | null = null;
  let afterBlank = false;
  for (let at = 0; at < markdown.length;) {
    const found = markdown.indexOf("\n", at);
    const next = found < 0 ? markdown.length : found + 1;
    const line = markdown.slice(at, next);
    if (fence === null && afterBlank && at > start && /^\S/.test(line) && !LIST_MARKER.test(line)) {
      blocks.push(markdown.slice(start, at));
      start = at;
    }
    fence = fenceAfter(line, fence);
    afterBlank = line.trim() === "";
    at = next;
  }
  if (start < markdown.length) blocks.push(markdown.slice(start));
  return blocks;
}

const LIST_MARKER = /^(?:[-+*]|\d{1,9}[.)])(?:\s|$)/;

/** The fence that is open after this line: its run of marks, or null. */
function fenceAfter(line: string, fence: string | null): string | null {
  const marks = /^ {0,3}(`{3,}(?=[^`]*$)|~{3,})(.*)$/s.exec(line);
  const run = marks?.[1];
  if (run === undefined) return fence;
  if (fence === null) return run;
  const closes = run[0] === fence[0] && run.length >= fence.length && (marks?.[2] ?? "").trim() === "";
  return closes ? null : fence;
}
