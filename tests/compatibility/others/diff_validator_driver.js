// json-schema-diff-validator of npm, as it comes. Run it where it is installed.
const readline = require("readline");
const tool = require(require.resolve("json-schema-diff-validator", { paths: [process.cwd()] }));

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { writer, reader } = JSON.parse(line);
    let answer = "true";
    try {
      tool.validateSchemaCompatibility(writer, reader);
    } catch (error) {
      answer = /not backward compatible/.test(error.message) ? "false" : `null ${error.name}`;
    }
    process.stdout.write(`${answer}\n`);
  }
}

main();
