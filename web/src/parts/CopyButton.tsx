import { useEffect, useState } from "react";
import { Check, Copy } from "./icons";

/** Copies a text and says so for two seconds. */
export function CopyButton({ text, label }: { text: string; label: string }) {
  const [told, setTold] = useState<"" | "Copied" | "Not copied">("");

  useEffect(() => {
    if (told === "") return;
    const timer = setTimeout(() => setTold(""), 2000);
    return () => clearTimeout(timer);
  }, [told]);

  return (
    <button
      type="button"
      className="quiet"
      aria-label={label}
      onClick={() => void copy(text).then((done) => setTold(done ? "Copied" : "Not copied"))}
    >
      {told === "Copied" ? <Check /> : <Copy />}
      <span aria-live="polite">{told || "Copy"}</span>
    </button>
  );
}

async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Browsers offer the clipboard only on https and localhost; a router on the local network is neither.
    return copyBySelection(text);
  }
}

function copyBySelection(text: string): boolean {
  const focused = document.activeElement;
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "sr";
  area.readOnly = true;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return done;
}
