// Validates JSON documents from stdin with the models in the node_modules of the first argument; prints what is wrong.
const path = require("path");
const models = process.argv[2];
const folders = {"serving.knative.dev": "knative", "gateway.networking.k8s.io": "gateway-api"};

for (const document of JSON.parse(require("fs").readFileSync(0, "utf8"))) {
  const [group, version] = document.apiVersion.split("/");
  try {
    const kinds = require(path.join(models, "@kubernetes-models", folders[group], group, version));
    new kinds[document.kind](document).validate();
  } catch (error) {
    console.log(`${document.kind} ${document.metadata.name}: ${error.message}`);
  }
}
