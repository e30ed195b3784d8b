// Starts Swagger UI on this gateway's own document. Nothing is asked of any other host.
const PATH = "/openapi.json";
const KEY = "Idempotency-Key";

// Each visit tries its own orders: the keys and ids of the examples are used up by the first who sends them.
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

function withNewKeys(spec) {
  for (const methods of Object.values(spec.paths)) {
    for (const operation of Object.values(methods)) {
      for (const parameter of operation.parameters || []) {
        if (parameter.name === KEY) parameter.example = newKey();
      }
      for (const media of Object.values(operation.requestBody?.content || {})) {
        for (const example of Object.values(media.examples || {})) {
          for (const order of example.value?.orders || []) order.id = newKey();
        }
      }
    }
  }
  return spec;
}

fetch(PATH)
  .then((answer) => answer.json())
  .then((spec) => {
    window.ui = SwaggerUIBundle({
      spec: withNewKeys(spec),
      dom_id: "#api",
      presets: [SwaggerUIBundle.presets.apis],
      layout: "BaseLayout",
      validatorUrl: null,
      deepLinking: true,
      docExpansion: "list",
      defaultModelsExpandDepth: 0,
      displayRequestDuration: true,
      persistAuthorization: false,
    });
  })
  .catch(() => {
    document.getElementById("api").textContent = "The document at " + PATH + " can't be read.";
  });
