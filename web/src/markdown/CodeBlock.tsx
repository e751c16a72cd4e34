import type { ExtraProps } from "react-markdown";
import { CopyButton } from "../parts/CopyButton";

type Node = NonNullable<ExtraProps["node"]>;

/** A block of code, its language if it was told, and a button that copies it. */
export function CodeBlock({ node }: { node: Node | undefined }) {
  const code = node === undefined ? "" : textOf(node).replace(/\n$/, "");
  const language = node === undefined ? "" : languageOf(node);
  return (
    <figure className="code">
      <figcaption>
        <span>{language || "text"}</span>
        <CopyButton text={code} label="Copy code" />
      </figcaption>
      <pre tabIndex={0}>
        <code>{code}</code>
      </pre>
    </figure>
  );
}

function textOf(node: Node | Node["children"][number]): string {
  if (node.type === "text") return node.value;
  return "children" in node ? node.children.map(textOf).join("") : "";
}

function languageOf(node: Node): string {
  const [code] = node.children;
  const names = code?.type === "element" ? code.properties["className"] : undefined;
  const name = Array.isArray(names) ? names.map(String).find((each) => each.startsWith("language-")) : undefined;
  return name?.slice("language-".length, 40) ?? "";
}
