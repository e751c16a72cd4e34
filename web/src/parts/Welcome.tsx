const EXAMPLES = [
  {
    title: "Explain something",
    prompt: "Why is the sky blue at noon and red at sunset? Explain it in three short paragraphs.",
  },
  { title: "Write some code", prompt: "Write a Python function that merges overlapping intervals." },
  { title: "Weigh a choice", prompt: "Compare SQLite and PostgreSQL for a first product, in a table." },
] as const;

/** What an empty conversation shows: what this is, and three ways to begin. */
export function Welcome({ onPick }: { onPick: (prompt: string) => void }) {
  return (
    <section className="welcome" aria-labelledby="welcome">
      <h2 id="welcome">What would you like to know?</h2>
      <p>Your message goes to the model that the router picks, and the answer appears as it is written.</p>
      <ul>
        {EXAMPLES.map(({ title, prompt }) => (
          <li key={title}>
            <button type="button" onClick={() => onPick(prompt)}>
              <strong>{title}</strong>
              <span>{prompt}</span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
