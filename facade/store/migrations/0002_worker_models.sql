-- What each worker said last about the models that it holds. Small, and forgotten when the worker goes silent.
CREATE TABLE worker_models (
    namespace TEXT   NOT NULL,
    endpoint  TEXT   NOT NULL,
    worker    TEXT   NOT NULL,
    -- `easel_protocol::worker::ModelStates` as JSON.
    states    TEXT   NOT NULL,
    seen_at   BIGINT NOT NULL,
    PRIMARY KEY (namespace, endpoint, worker)
);
CREATE INDEX worker_models_seen ON worker_models (seen_at);
