import { useEffect, useState } from "react";

const PATIENCE_MS = 5_000;
const AGAIN_MS = 4_000;

/**
 * Whether the router answers. Asked once at the start and whenever `suspicion` changes, then again and again only while
 * it does not answer: a healthy router is not polled.
 */
export function useHealth(suspicion: unknown): boolean {
  const [isUp, setUp] = useState(true);

  useEffect(() => {
    const left = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const look = async () => {
      const signal = AbortSignal.any([left.signal, AbortSignal.timeout(PATIENCE_MS)]);
      const answered = await fetch("/health", { signal }).then(
        ({ ok }) => ok,
        () => false,
      );
      if (left.signal.aborted) return;
      setUp(answered);
      if (!answered) timer = setTimeout(() => void look(), AGAIN_MS);
    };
    void look();
    return () => {
      left.abort();
      clearTimeout(timer);
    };
  }, [suspicion]);

  return isUp;
}
