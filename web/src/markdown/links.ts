const ALLOWED = new Set(["http:", "https:", "mailto:"]);

/** The address if a reader may be sent there, else "": only whole http, https and mailto addresses are links. */
export function safeAddress(address: string): string {
  try {
    return ALLOWED.has(new URL(address).protocol) ? address : "";
  } catch {
    return "";
  }
}

/** The host that an address leads to, for a reader to judge; "" where there is none. */
export function hostOf(address: string): string {
  try {
    return new URL(address).host;
  } catch {
    return "";
  }
}
