// A client of Turnkeep, made from the proto alone when it is loaded.
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';

import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const { ConversationService } = grpc.loadPackageDefinition(
  loadSync('turnkeep/v1/conversation.proto', {
    includeDirs: [fileURLToPath(new URL('../../protos', import.meta.url))],
    keepCase: true, // session_id, as the proto has it
    enums: String,
    longs: Number,
    defaults: true,
    oneofs: true,
  }),
).turnkeep.v1;

// UNAVAILABLE is the one status that is safe to send again, because every request that stores
// something has a request_id: it is one turn however often it is sent. gRPC does it by itself, up to
// a stream's first message.
const SERVICE_CONFIG = {
  methodConfig: [
    {
      name: [{ service: 'turnkeep.v1.ConversationService' }],
      retryPolicy: {
        maxAttempts: 5,
        initialBackoff: '0.2s',
        maxBackoff: '2s',
        backoffMultiplier: 2,
        retryableStatusCodes: ['UNAVAILABLE'],
      },
    },
  ],
};
const TIMEOUT_SECONDS = 60;

export class Turnkeep {
  #client;

  // In production: grpc.credentials.createSsl().
  constructor(address, credentials = grpc.credentials.createInsecure()) {
    this.#client = new ConversationService(address, credentials, {
      'grpc.service_config': JSON.stringify(SERVICE_CONFIG),
    });
  }

  // The request_id is made once a call, here, and goes with each attempt.
  chat(request, options) {
    return this.#unary('Chat', { request_id: randomUUID(), ...request }, options);
  }

  addMessages(request, options) {
    return this.#unary('AddMessages', { request_id: randomUUID(), ...request }, options);
  }

  clearSession(request, options) {
    return this.#unary('ClearSession', request, options);
  }

  // All of a session's messages, page by page.
  async *messages(request, options) {
    let page_token = '';
    do {
      const page = await this.#unary('ListMessages', { ...request, page_token }, options);
      yield* page.messages;
      page_token = page.next_page_token;
    } while (page_token);
  }

  // The events of one turn: started, deltas, completed. Its answer is durable before `completed`.
  // Whoever stops reading, or aborts the signal, ends the model's call too; the turn is kept as
  // CANCELLED with the text so far.
  async *stream(request, { signal } = {}) {
    signal?.throwIfAborted();
    const call = this.#client.StreamChat({ request_id: randomUUID(), ...request }, deadline());
    const stop = () => call.cancel();
    signal?.addEventListener('abort', stop, { once: true });
    try {
      yield* call;
    } finally {
      signal?.removeEventListener('abort', stop);
      stop();
    }
  }

  close() {
    this.#client.close();
  }

  async #unary(method, request, { signal } = {}) {
    signal?.throwIfAborted();
    return new Promise((resolve, reject) => {
      const call = this.#client[method](request, deadline(), (error, answer) => {
        signal?.removeEventListener('abort', stop);
        if (error) reject(error);
        else resolve(answer);
      });
      const stop = () => call.cancel();
      signal?.addEventListener('abort', stop, { once: true });
    });
  }
}

// Without a deadline a call may wait for ever.
function deadline() {
  return { deadline: Date.now() + TIMEOUT_SECONDS * 1000 };
}
