// An object store on loopback that does what a Swift does and costs next to no CPU, so that a client's
// own cost shows. One thread for each connection; objects live in memory. No accounts, no tokens.
//
// usage: sink [--delay MS]     prints "listening PORT", runs until it is killed
//   --delay MS   waits so long before it answers the PUT of an object, as a store far away does
//
//   PUT object      its ETag is the one that the request names, else the MD5 of the body, which is then
//                   computed; a request that says `x-unhashed: yes` spares that and gets a constant
//   GET, HEAD       object (one range, too), container (format=json; prefix, marker, limit), /info
//   DELETE          object
//   GET /stats      counts since the start, as JSON
//   DELETE /objects?prefix=/v1/…   drops every object whose whole path starts so; uncounted
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD_MAX = 65536, PIECE = 1 << 20, PATH_LEN_MAX = 2048, PAGE_MAX = 10000 };
static const char empty_md5[] = "d41d8cd98f00b204e9800998ecf8427e";

// --- Objects, in a hash table that grows. A reader holds a reference, so that nothing goes under it.

struct object {
  struct object *next;
  size_t hash, length;
  int references;
  char md5[33];
  char *data;
  char path[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct object **buckets;
static size_t bucket_count = 1024, object_count;
static struct { long long puts, put_bytes, gets, get_bytes, lists, deletes, stored_bytes; } stats;
static int delay_ms;

static size_t hash_of(const char *text) {
  size_t hash = 1469598103934665603u;
  for (; *text; text++) hash = (hash ^ (unsigned char)*text) * 1099511628211u;
  return hash ^ (hash >> 29);
}

static struct object **place_of(const char *path, size_t hash) {
  struct object **at = &buckets[hash % bucket_count];
  while (*at && ((*at)->hash != hash || strcmp((*at)->path, path))) at = &(*at)->next;
  return at;
}

static void release(struct object *object) {
  if (--object->references) return;
  free(object->data);
  free(object);
}

static void unlink_at(struct object **at) {
  struct object *gone = *at;
  *at = gone->next;
  object_count--;
  stats.stored_bytes -= gone->length;
  release(gone);
}

static void grow(void) {
  size_t old_count = bucket_count;
  struct object **old = buckets;
  bucket_count *= 4;
  buckets = calloc(bucket_count, sizeof *buckets);
  for (size_t i = 0; i < old_count; i++)
    for (struct object *o = old[i], *next; o; o = next) {
      next = o->next;
      o->next = buckets[o->hash % bucket_count];
      buckets[o->hash % bucket_count] = o;
    }
  free(old);
}

static void store(const char *path, char *data, size_t length, const char *md5) {
  struct object *object = malloc(sizeof *object + strlen(path) + 1);
  *object = (struct object){.hash = hash_of(path), .length = length, .references = 1, .data = data};
  strcpy(object->path, path);
  memcpy(object->md5, md5, 33);
  pthread_mutex_lock(&lock);
  struct object **at = place_of(path, object->hash);
  if (*at) unlink_at(at);
  if (object_count > bucket_count) grow();
  struct object **head = &buckets[object->hash % bucket_count];
  object->next = *head;
  *head = object;
  object_count++;
  stats.puts++, stats.put_bytes += length, stats.stored_bytes += length;
  pthread_mutex_unlock(&lock);
}

static struct object *take(const char *path) {
  pthread_mutex_lock(&lock);
  struct object *object = *place_of(path, hash_of(path));
  if (object) object->references++;
  pthread_mutex_unlock(&lock);
  return object;
}

static void give_back(struct object *object) {
  pthread_mutex_lock(&lock);
  release(object);
  pthread_mutex_unlock(&lock);
}

static int remove_object(const char *path) {
  pthread_mutex_lock(&lock);
  struct object **at = place_of(path, hash_of(path));
  int found = *at != NULL;
  if (found) unlink_at(at);
  stats.deletes++;
  pthread_mutex_unlock(&lock);
  return found;
}

static void remove_prefix(const char *prefix) {
  pthread_mutex_lock(&lock);
  for (size_t i = 0; i < bucket_count; i++)
    for (struct object **at = &buckets[i]; *at;)
      if (strncmp((*at)->path, prefix, strlen(prefix))) at = &(*at)->next;
      else unlink_at(at);
  pthread_mutex_unlock(&lock);
}

// --- HTTP

struct request {
  int socket;
  char *buffer;     // The head, and behind it what has come of the body.
  size_t filled, head_bytes;
  char method[16], path[PATH_LEN_MAX], query[PATH_LEN_MAX], etag[33];
  long long length, from, to; // Of the body; the range that is asked for, -1: to the end.
  int expects, is_chunked, has_range, is_unhashed;
};

static int send_all(int socket, const char *data, size_t length) {
  while (length) {
    ssize_t sent = send(socket, data, length, MSG_NOSIGNAL);
    if (sent <= 0) return -1;
    data += sent, length -= sent;
  }
  return 0;
}

static int answer(struct request *r, const char *status, const char *body, size_t length,
                  const char *headers, ...) {
  char head[1024];
  int used = snprintf(head, sizeof head, "HTTP/1.1 %s\r\ncontent-length: %zu\r\n", status, length);
  va_list arguments;
  va_start(arguments, headers);
  used += vsnprintf(head + used, sizeof head - used, headers, arguments);
  va_end(arguments);
  memcpy(head + used, "\r\n", 2);
  if (send_all(r->socket, head, used + 2)) return -1;
  return body && strcmp(r->method, "HEAD") ? send_all(r->socket, body, length) : 0;
}

static int plain(struct request *r, const char *status) { return answer(r, status, NULL, 0, "%s", ""); }

static void decode(char *to, const char *from, const char *end) {
  unsigned code;
  for (; from < end; from++)
    if (*from == '%' && from + 2 < end && sscanf(from + 1, "%2x", &code) == 1) *to++ = code, from += 2;
    else *to++ = *from;
  *to = 0;
}

static int query_value(const char *query, const char *key, char *to) {
  size_t length = strlen(key);
  *to = 0;
  for (const char *at = query; *at;) {
    const char *end = strchrnul(at, '&');
    if (!strncmp(at, key, length) && at[length] == '=') return decode(to, at + length + 1, end), 1;
    at = *end ? end + 1 : end;
  }
  return 0;
}

static const char *header(const char *line, const char *name) {
  size_t length = strlen(name);
  return strncasecmp(line, name, length) || line[length] != ':' ? NULL : line + length + 1;
}

/** Reads up to the end of the next head; false where there is none. */
static int read_head(struct request *r) {
  char *end, raw[PATH_LEN_MAX] = "";
  r->buffer[r->filled] = 0;
  while (!(end = strstr(r->buffer, "\r\n\r\n"))) {
    ssize_t got = recv(r->socket, r->buffer + r->filled, HEAD_MAX - 1 - r->filled, 0);
    if (got <= 0) return 0;
    r->buffer[r->filled += got] = 0;
  }
  r->head_bytes = end + 4 - r->buffer;
  r->length = r->from = 0, r->to = -1;
  r->expects = r->is_chunked = r->has_range = r->is_unhashed = 0;
  *r->etag = *r->method = 0;
  sscanf(r->buffer, "%15s %2047s", r->method, raw);
  char *mark = strchrnul(raw, '?');
  strcpy(r->query, *mark ? mark + 1 : "");
  decode(r->path, raw, mark);
  for (char *line = strstr(r->buffer, "\r\n") + 2; line < end; line = strstr(line, "\r\n") + 2) {
    const char *value;
    if ((value = header(line, "content-length"))) r->length = atoll(value);
    else if ((value = header(line, "etag"))) sscanf(value, "%*[ \"]%32[0-9a-f]", r->etag);
    else if ((value = header(line, "range")))
      r->has_range = sscanf(value, " bytes=%lld-%lld", &r->from, &r->to) >= 1;
    else if (header(line, "expect")) r->expects = 1;
    else if (header(line, "transfer-encoding")) r->is_chunked = 1;
    else if (header(line, "x-unhashed")) r->is_unhashed = 1;
  }
  return 1;
}

/** Takes the body, into `keep` where there is one; leaves what follows it at the buffer's start. */
static int read_body(struct request *r, char *keep, char *piece, EVP_MD_CTX *digest) {
  long long done = r->filled - r->head_bytes;
  if (done > r->length) done = r->length;
  char *early = r->buffer + r->head_bytes;
  if (keep) memcpy(keep, early, done);
  if (digest) EVP_DigestUpdate(digest, early, done);
  r->filled -= r->head_bytes + done;
  memmove(r->buffer, early + done, r->filled);
  while (done < r->length) {
    char *to = keep ? keep + done : piece;
    long long wanted = r->length - done < PIECE ? r->length - done : PIECE;
    ssize_t got = recv(r->socket, to, wanted, 0);
    if (got <= 0) return -1;
    if (digest) EVP_DigestUpdate(digest, to, got);
    done += got;
  }
  return 0;
}

static int put_object(struct request *r, char *piece) {
  int hashes = !*r->etag && !r->is_unhashed;
  EVP_MD_CTX *digest = hashes ? EVP_MD_CTX_new() : NULL;
  char *data = malloc(r->length + 1);
  if (digest) EVP_DigestInit_ex(digest, EVP_md5(), NULL);
  int failed = read_body(r, data, piece, digest);
  if (digest) {
    unsigned char md5[16];
    EVP_DigestFinal_ex(digest, md5, NULL);
    for (int i = 0; i < 16; i++) sprintf(r->etag + 2 * i, "%02x", md5[i]);
    EVP_MD_CTX_free(digest);
  }
  if (failed) return free(data), -1;
  if (!*r->etag) strcpy(r->etag, empty_md5);
  store(r->path, data, r->length, r->etag);
  if (delay_ms) usleep(delay_ms * 1000);
  return answer(r, "201 Created", NULL, 0, "etag: %s\r\n", r->etag);
}

static int get_object(struct request *r) {
  struct object *object = take(r->path);
  if (!object) return plain(r, "404 Not Found");
  long long last = (long long)object->length - 1, to = r->to < 0 || r->to > last ? last : r->to;
  int failed;
  if (!strcmp(r->method, "HEAD") || !r->has_range || r->from > to) r->from = 0, to = last;
  size_t length = to + 1 - r->from;
  int is_part = length != object->length;
  if (strcmp(r->method, "HEAD")) {
    pthread_mutex_lock(&lock);
    stats.gets++, stats.get_bytes += length;
    pthread_mutex_unlock(&lock);
  }
  if (is_part)
    failed = answer(r, "206 Partial Content", object->data + r->from, length,
                    "etag: %s\r\ncontent-range: bytes %lld-%lld/%zu\r\n", object->md5, r->from, to,
                    object->length);
  else failed = answer(r, "200 OK", object->data, length, "etag: %s\r\n", object->md5);
  give_back(object);
  return failed;
}

static int by_path(const void *one, const void *other) {
  return strcmp((*(struct object **)one)->path, (*(struct object **)other)->path);
}

static int list_container(struct request *r) {
  char prefix[PATH_LEN_MAX], marker[PATH_LEN_MAX], limit[PATH_LEN_MAX], *body = NULL;
  size_t bytes = 0, base = strlen(r->path) + 1, found = 0;
  query_value(r->query, "prefix", prefix);
  query_value(r->query, "marker", marker);
  size_t page = query_value(r->query, "limit", limit) ? (size_t)atoll(limit) : PAGE_MAX;
  FILE *text = open_memstream(&body, &bytes);
  pthread_mutex_lock(&lock);
  stats.lists++;
  struct object **all = malloc((object_count + 1) * sizeof *all);
  for (size_t i = 0; i < bucket_count; i++)
    for (struct object *o = buckets[i]; o; o = o->next)
      if (!strncmp(o->path, r->path, base - 1) && o->path[base - 1] == '/' &&
          !strncmp(o->path + base, prefix, strlen(prefix)) && strcmp(o->path + base, marker) > 0)
        all[found++] = o;
  qsort(all, found, sizeof *all, by_path);
  for (size_t i = 0; i < found && i < page; i++)
    fprintf(text, "%s{\"name\":\"%s\",\"bytes\":%zu,\"hash\":\"%s\",\"content_type\":"
            "\"application/octet-stream\",\"last_modified\":\"2024-01-01T00:00:00.000000\"}",
            i ? "," : "[", all[i]->path + base, all[i]->length, all[i]->md5);
  pthread_mutex_unlock(&lock);
  fputs(found && page ? "]" : "[]", text);
  fclose(text);
  int failed = answer(r, "200 OK", body, bytes, "%s", "content-type: application/json; charset=utf-8\r\n");
  free(all), free(body);
  return failed;
}

static int tell(struct request *r, int of_stats) {
  char body[512];
  pthread_mutex_lock(&lock);
  int length = of_stats
    ? snprintf(body, sizeof body, "{\"puts\":%lld,\"putBytes\":%lld,\"gets\":%lld,\"getBytes\":%lld,"
               "\"lists\":%lld,\"deletes\":%lld,\"objects\":%zu,\"storedBytes\":%lld}\n", stats.puts,
               stats.put_bytes, stats.gets, stats.get_bytes, stats.lists, stats.deletes, object_count,
               stats.stored_bytes)
    : snprintf(body, sizeof body, "{\"swift\":{\"max_file_size\":5368709122,\"max_object_name_length\":"
               "1024,\"max_container_name_length\":256,\"container_listing_limit\":%d}}", PAGE_MAX);
  pthread_mutex_unlock(&lock);
  return answer(r, "200 OK", body, length, "%s", "content-type: application/json\r\n");
}

static int serve(struct request *r, char *piece) {
  int slashes = 0, is_get = !strcmp(r->method, "GET"), is_head = !strcmp(r->method, "HEAD");
  for (const char *at = r->path; *at; at++) slashes += *at == '/';
  if (r->is_chunked) return plain(r, "411 Length Required"), -1;
  if (r->expects && send_all(r->socket, "HTTP/1.1 100 Continue\r\n\r\n", 25)) return -1;
  if (!strcmp(r->method, "PUT") && slashes > 3) return put_object(r, piece);
  if (read_body(r, NULL, piece, NULL)) return -1;
  if (is_get && !strcmp(r->path, "/stats")) return tell(r, 1);
  if (is_get && !strcmp(r->path, "/info")) return tell(r, 0);
  if (!strcmp(r->method, "DELETE") && !strcmp(r->path, "/objects")) {
    char prefix[PATH_LEN_MAX];
    query_value(r->query, "prefix", prefix);
    return remove_prefix(prefix), plain(r, "204 No Content");
  }
  if (slashes > 3) {
    if (is_get || is_head) return get_object(r);
    if (!strcmp(r->method, "DELETE"))
      return plain(r, remove_object(r->path) ? "204 No Content" : "404 Not Found");
    return plain(r, "202 Accepted");
  }
  if (is_get) return list_container(r);
  return plain(r, strcmp(r->method, "PUT") ? "204 No Content" : "201 Created");
}

static void *converse(void *argument) {
  int socket = (int)(long)argument, on = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  struct request request = {.socket = socket, .buffer = malloc(HEAD_MAX)};
  char *piece = malloc(PIECE);
  while (read_head(&request) && !serve(&request, piece));
  close(socket);
  free(request.buffer), free(piece);
  return NULL;
}

int main(int count, char **values) {
  for (int i = 1; i < count; i++)
    if (!strcmp(values[i], "--delay") && i + 1 < count) delay_ms = atoi(values[++i]);
    else return fprintf(stderr, "usage: sink [--delay MS]\n"), 2;
  buckets = calloc(bucket_count, sizeof *buckets);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  int server = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(server, (void *)&address, size) || listen(server, 512) ||
      getsockname(server, (void *)&address, &size))
    return perror("sink"), 1;
  printf("listening %d\n", ntohs(address.sin_port));
  fflush(stdout);
  for (;;) {
    int socket = accept(server, NULL, NULL);
    pthread_t thread;
    if (socket < 0) continue;
    if (pthread_create(&thread, NULL, converse, (void *)(long)socket)) close(socket);
    else pthread_detach(thread);
  }
}
