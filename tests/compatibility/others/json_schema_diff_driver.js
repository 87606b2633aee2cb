// json-schema-diff of npm: what the new schema took away from the old one. Run it where it is installed.
const readline = require("readline");
const { diffSchemas } = require(require.resolve("json-schema-diff", { paths: [process.cwd()] }));

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { writer, reader } = JSON.parse(line);
    let answer;
    try {
      const diff = await diffSchemas({ sourceSchema: writer, destinationSchema: reader });
      answer = JSON.stringify(!diff.removalsFound);
    } catch (error) {
      answer = `null ${error.name}`;
    }
    process.stdout.write(`${answer}\n`);
  }
}

main();
