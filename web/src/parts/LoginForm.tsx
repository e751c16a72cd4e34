import { useId, useState, type FormEvent } from "react";
import { Failure } from "../wire/failure";
import { login } from "../wire/sessions";

/** Asks for a key and trades it for the router's cookie. */
export function LoginForm({ onSignedIn }: { onSignedIn: () => void }) {
  const id = useId();
  const [key, setKey] = useState("");
  const [isBusy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState<string | null>(null);

  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (key.trim() === "" || isBusy) return;
    setBusy(true);
    setTrouble(null);
    login(key.trim()).then(
      () => {
        setKey("");
        setBusy(false);
        onSignedIn();
      },
      (error: unknown) => {
        setBusy(false);
        setTrouble(sentence(error));
      },
    );
  };

  return (
    <form className="login" onSubmit={submit}>
      <label htmlFor={id}>This router asks for a key</label>
      <p id={`${id}-about`}>
        Paste a Trunkline key or the administrator’s secret. It is traded for a cookie and not kept here.
      </p>
      <div className="row">
        <input
          id={id}
          type="password"
          autoComplete="current-password"
          spellCheck={false}
          autoFocus
          value={key}
          aria-describedby={`${id}-about`}
          aria-invalid={trouble !== null}
          onChange={(event) => setKey(event.target.value)}
        />
        <button type="submit" className="strong" disabled={key.trim() === "" || isBusy}>
          {isBusy ? "Signing in…" : "Sign in"}
        </button>
      </div>
      {trouble !== null && (
        <p className="error" role="alert">
          {trouble}
        </p>
      )}
    </form>
  );
}

function sentence(error: unknown): string {
  if (!(error instanceof Failure)) return "That did not work. Try again.";
  return error.status === 401 || error.status === 403 ? "That key was not accepted." : error.message;
}
