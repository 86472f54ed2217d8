/* The local hit in C: a prototype, built and measured by extension.py, and used by nothing else.

   Storage.load   what LocalFileStorage.load does: open, fstat, owner and mode, age, read, verify every byte, close
   Hit            what a decorated function does: guards, the key of scalars, Storage.load, the unpickling, the counts

   It keeps what is promised of a hit on unsigned pickles in a storage without a limit. Whatever is no plain hit goes
   to `fallback`, which is the function that perscache made. BLAKE3 is here as its paper defines it, for inputs of one
   chunk. XXH3 is called in the library that Python's xxhash brings, so that both sides hash alike. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <marshal.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <structmember.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define SMALL 4096 /* bytes that are read to the stack first, so that the interpreter is let go of only once */
#define LONGEST 1024 /* of a file's name; and of one chunk of BLAKE3 */
#define SLACK 5.0
#define UNTIMED 0x7fc00000u

static uint64_t (*xxh3)(const void *, size_t, uint64_t);

/* --- BLAKE3 of at most 1,024 bytes: https://github.com/BLAKE3-team/BLAKE3-specs. */

static const uint32_t IV[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                               0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
static const uint8_t ORDER[16] = {2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8};

#define ROTATED(word, by) ((word) >> (by) | (word) << (32 - (by)))
#define QUARTER(a, b, c, d, x, y)                                                                                      \
    v[a] += v[b] + (x), v[d] = ROTATED(v[d] ^ v[a], 16), v[c] += v[d], v[b] = ROTATED(v[b] ^ v[c], 12);                \
    v[a] += v[b] + (y), v[d] = ROTATED(v[d] ^ v[a], 8), v[c] += v[d], v[b] = ROTATED(v[b] ^ v[c], 7)

static void compress(uint32_t chain[8], const uint8_t block[64], uint32_t length, uint32_t flags)
{
    uint32_t v[16], m[16], next[16];
    memcpy(m, block, 64);
    memcpy(v, chain, 32);
    memcpy(v + 8, IV, 16);
    v[12] = v[13] = 0, v[14] = length, v[15] = flags;
    for (int round = 0;; round++) {
        QUARTER(0, 4, 8, 12, m[0], m[1]);
        QUARTER(1, 5, 9, 13, m[2], m[3]);
        QUARTER(2, 6, 10, 14, m[4], m[5]);
        QUARTER(3, 7, 11, 15, m[6], m[7]);
        QUARTER(0, 5, 10, 15, m[8], m[9]);
        QUARTER(1, 6, 11, 12, m[10], m[11]);
        QUARTER(2, 7, 8, 13, m[12], m[13]);
        QUARTER(3, 4, 9, 14, m[14], m[15]);
        if (round == 6)
            break;
        for (int i = 0; i < 16; i++)
            next[i] = m[ORDER[i]];
        memcpy(m, next, 64);
    }
    for (int i = 0; i < 8; i++)
        chain[i] = v[i] ^ v[i + 8];
}

/* 20 bytes of the hash, in 40 hex digits. */
static void digest(const uint8_t *data, size_t size, char *hex)
{
    uint32_t chain[8], flags = 1; /* the chunk begins */
    memcpy(chain, IV, 32);
    for (;; data += 64, size -= 64, flags = 0) {
        uint8_t block[64] = {0};
        size_t length = size > 64 ? 64 : size;
        memcpy(block, data, length);
        if (size <= 64)
            flags |= 2 | 8; /* it ends, and is the root */
        compress(chain, block, (uint32_t)length, flags);
        if (size <= 64)
            break;
    }
    const uint8_t *bytes = (const uint8_t *)chain;
    for (int i = 0; i < 20; i++) {
        hex[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
    }
}

/* --- What was read. */

typedef struct {
    PyObject_HEAD
    PyObject *data, *compute_time;
    double created;
} Loaded;

static void loaded_dealloc(Loaded *self)
{
    Py_XDECREF(self->data);
    Py_XDECREF(self->compute_time);
    PyObject_Free(self);
}

static PyMemberDef loaded_members[] = {
    {"data", T_OBJECT, offsetof(Loaded, data), READONLY},
    {"created", T_DOUBLE, offsetof(Loaded, created), READONLY},
    {"compute_time", T_OBJECT, offsetof(Loaded, compute_time), READONLY},
    {NULL},
};

static PyTypeObject LoadedType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "extension.Loaded",
    .tp_basicsize = sizeof(Loaded),
    .tp_dealloc = (destructor)loaded_dealloc,
    .tp_members = loaded_members,
    .tp_flags = Py_TPFLAGS_DEFAULT,
};

/* --- Reading. */

typedef struct {
    PyObject_HEAD
    char root[LONGEST];
    size_t length;
    int flags;
    uid_t owner;
} Storage;

typedef struct {
    uint32_t magic, bits;
    uint64_t digest;
} Seal;

typedef enum { WHOLE, FAILED, REFUSED, EXPIRED, BROKEN } Outcome;

static Outcome judged(const struct stat *status, const Storage *self, double max_age)
{
    if ((status->st_mode & (S_IFMT | 022)) != S_IFREG || status->st_uid != self->owner)
        return REFUSED;
    if (max_age >= 0) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        double age = (now.tv_sec - status->st_mtim.tv_sec) + (now.tv_nsec - status->st_mtim.tv_nsec) * 1e-9;
        if (!(-SLACK <= age && age <= max_age))
            return EXPIRED;
    }
    return status->st_size < 16 ? BROKEN : WHOLE;
}

static Outcome verified(const void *value, size_t size, const Seal *seal, uint64_t seed)
{
    return seal->magic == 0x01637370 && xxh3(value, size, seed ^ seal->bits) == seal->digest ? WHOLE : BROKEN;
}

/* The value under `path`, every byte verified, with the time of its file and the bits of its seconds. */
static Outcome load(Storage *self, const char *path, size_t length, double max_age, PyObject **value, double *created,
                    uint32_t *bits)
{
    char file[2 * LONGEST], small[SMALL];
    struct stat status;
    Outcome outcome = FAILED;
    Seal seal;
    memcpy(file, self->root, self->length);
    memcpy(file + self->length, path, length);
    file[self->length + length] = 0;
    *value = NULL;

    PyThreadState *saved = PyEval_SaveThread();
    uint64_t seed = xxh3(path, length, 0);
    int fd = open(file, self->flags);
    if (fd >= 0 && fstat(fd, &status) == 0)
        outcome = judged(&status, self, max_age);
    size_t end = outcome == WHOLE ? status.st_size - 16 : 0;
    if (outcome == WHOLE && status.st_size <= SMALL) {
        if (read(fd, small, status.st_size) == status.st_size) {
            memcpy(&seal, small + end, 16);
            outcome = verified(small, end, &seal, seed);
        } else
            outcome = BROKEN;
    } else if (outcome == WHOLE) {
        PyEval_RestoreThread(saved);
        *value = PyBytes_FromStringAndSize(NULL, end);
        saved = PyEval_SaveThread();
        if (*value) {
            struct iovec parts[2] = {{PyBytes_AS_STRING(*value), end}, {&seal, 16}};
            outcome = readv(fd, parts, 2) == status.st_size ? verified(parts[0].iov_base, end, &seal, seed) : BROKEN;
        } else
            outcome = FAILED;
    }
    if (fd >= 0)
        close(fd);
    PyEval_RestoreThread(saved);

    if (outcome == WHOLE && !*value)
        *value = PyBytes_FromStringAndSize(small, end);
    if (outcome != WHOLE || !*value) {
        Py_CLEAR(*value);
        return outcome == WHOLE ? FAILED : outcome;
    }
    *created = status.st_mtim.tv_sec + status.st_mtim.tv_nsec * 1e-9;
    *bits = seal.bits;
    return WHOLE;
}

static double seconds_of(uint32_t bits)
{
    float seconds;
    memcpy(&seconds, &bits, 4);
    return seconds;
}

/* load(path, max_age=None, form="bytes") */
static PyObject *storage_load(Storage *self, PyObject *const *args, Py_ssize_t count)
{
    PyObject *value;
    double created, max_age = -1;
    uint32_t bits;
    Py_ssize_t length;
    if (count < 1 || count > 3)
        return PyErr_Format(PyExc_TypeError, "load(path, max_age, form)");
    const char *path = PyUnicode_AsUTF8AndSize(args[0], &length);
    if (!path || length >= LONGEST)
        return path ? PyErr_Format(PyExc_ValueError, "too long") : NULL;
    if (count > 1 && args[1] != Py_None) {
        max_age = PyFloat_AsDouble(args[1]);
        if (max_age == -1 && PyErr_Occurred())
            return NULL;
    }
    switch (load(self, path, length, max_age, &value, &created, &bits)) {
    case WHOLE:
        break;
    case FAILED:
        return PyErr_Occurred() ? NULL : PyErr_SetFromErrno(PyExc_OSError);
    default:
        return PyErr_Format(PyExc_RuntimeError, "%s is refused, expired or damaged", path);
    }
    Loaded *loaded = PyObject_New(Loaded, &LoadedType);
    if (!loaded) {
        Py_DECREF(value);
        return NULL;
    }
    loaded->data = value;
    loaded->created = created;
    loaded->compute_time = bits == UNTIMED ? Py_NewRef(Py_None) : PyFloat_FromDouble(seconds_of(bits));
    return (PyObject *)loaded;
}

/* Storage(root, flags, owner): root ends with a slash. */
static int storage_init(Storage *self, PyObject *args, PyObject *kwargs)
{
    const char *root;
    Py_ssize_t length;
    if (!PyArg_ParseTuple(args, "s#ii", &root, &length, &self->flags, (int *)&self->owner) || length >= LONGEST)
        return -1;
    memcpy(self->root, root, length + 1);
    self->length = length;
    return 0;
}

static PyMethodDef storage_methods[] = {{"load", (PyCFunction)(void (*)(void))storage_load, METH_FASTCALL}, {NULL}};

static PyTypeObject StorageType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "extension.Storage",
    .tp_basicsize = sizeof(Storage),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_init = (initproc)storage_init,
    .tp_new = PyType_GenericNew,
    .tp_methods = storage_methods,
};

/* --- A whole hit. */

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    PyObject *fallback, *function, *code, *defaults, *kwdefaults, *looks, *prefix, *begin, *end, *loads, *switches,
        *registered, *observers, *levels, *debug;
    Storage *storage;
    double max_age;
    Py_ssize_t arity;
    long long hits, bytes;
    double saved;
} Hit;

static int guards_hold(Hit *self)
{
    PyFunctionObject *function = (PyFunctionObject *)self->function;
    PyObject *defaults = function->func_defaults, *kwdefaults = function->func_kwdefaults;
    if (function->func_code != self->code || (defaults ? defaults : Py_None) != self->defaults ||
        (kwdefaults ? kwdefaults : Py_None) != self->kwdefaults)
        return 0;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(self->looks); i++) {
        PyObject *look = PyList_GET_ITEM(self->looks, i);
        if (PyDict_GetItemWithError(PyTuple_GET_ITEM(look, 0), PyTuple_GET_ITEM(look, 1)) != PyTuple_GET_ITEM(look, 2))
            return 0;
    }
    return 1;
}

/* Mode `normal`, nobody listens, nothing is logged at DEBUG. */
static int straight(Hit *self)
{
    PyObject *switches;
    if (PyContextVar_Get(self->switches, NULL, &switches) < 0 || !switches)
        return 0;
    int none = PyTuple_GET_SIZE(switches) == 0;
    Py_DECREF(switches);
    return none && PyObject_Size(self->registered) == 0 && PyList_GET_SIZE(self->observers) == 0 &&
           PyDict_GetItemWithError(self->levels, self->debug) == Py_False;
}

static int flat(PyObject *value)
{
    return PyLong_CheckExact(value) || PyUnicode_CheckExact(value) || PyFloat_CheckExact(value) ||
           PyBool_Check(value) || value == Py_None || PyBytes_CheckExact(value) || PyComplex_CheckExact(value);
}

/* The storage path of a call with these arguments; 0 where it is not for us to say. */
static size_t path_of(Hit *self, PyObject *const *args, char *path)
{
    uint8_t data[LONGEST];
    for (Py_ssize_t i = 0; i < self->arity; i++)
        if (!flat(args[i]))
            return 0;
    PyObject *values = PyTuple_New(self->arity);
    if (!values)
        return 0;
    for (Py_ssize_t i = 0; i < self->arity; i++)
        PyTuple_SET_ITEM(values, i, Py_NewRef(args[i]));
    PyObject *encoded = PyMarshal_WriteObjectToString(values, 2);
    Py_DECREF(values);
    if (!encoded)
        return 0;
    size_t known = PyBytes_GET_SIZE(self->prefix), size = PyBytes_GET_SIZE(encoded);
    size_t begin = PyBytes_GET_SIZE(self->begin), end = PyBytes_GET_SIZE(self->end);
    if (known + size > LONGEST || begin + 40 + end >= LONGEST) {
        Py_DECREF(encoded);
        return 0;
    }
    memcpy(data, PyBytes_AS_STRING(self->prefix), known);
    memcpy(data + known, PyBytes_AS_STRING(encoded), size);
    Py_DECREF(encoded);
    memcpy(path, PyBytes_AS_STRING(self->begin), begin);
    digest(data, known + size, path + begin);
    memcpy(path + begin + 40, PyBytes_AS_STRING(self->end), end);
    return begin + 40 + end;
}

static PyObject *hit_call(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *names)
{
    Hit *self = (Hit *)callable;
    PyObject *value;
    double created;
    uint32_t bits;
    char path[LONGEST];
    size_t length = 0;
    if (PyVectorcall_NARGS(nargsf) == self->arity && !names && straight(self) && guards_hold(self))
        length = path_of(self, args, path);
    if (length && load(self->storage, path, length, self->max_age, &value, &created, &bits) == WHOLE) {
        /* Else there is byte code in it, of this Python or of another. */
        Py_ssize_t size = PyBytes_GET_SIZE(value);
        int pure = size && PyBytes_AS_STRING(value)[size - 1] == '.';
        PyObject *result = pure ? PyObject_CallOneArg(self->loads, value) : NULL;
        if (result) {
            self->hits++;
            self->bytes += size;
            if (bits != UNTIMED)
                self->saved += seconds_of(bits);
            Py_DECREF(value);
            return result;
        }
        Py_DECREF(value);
    }
    PyErr_Clear();
    return PyObject_Vectorcall(self->fallback, args, nargsf, names);
}

/* Hit(fallback, function, code, defaults, kwdefaults, looks, prefix, begin, end, loads, switches, registered,
       observers, levels, debug, storage, max_age, arity) */
static int hit_init(Hit *self, PyObject *args, PyObject *kwargs)
{
    PyObject **fields[] = {&self->fallback, &self->function, &self->code, &self->defaults, &self->kwdefaults,
        &self->looks, &self->prefix, &self->begin, &self->end, &self->loads, &self->switches, &self->registered,
        &self->observers, &self->levels, &self->debug, (PyObject **)&self->storage};
    size_t number = sizeof(fields) / sizeof(*fields);
    if (PyTuple_GET_SIZE(args) != (Py_ssize_t)number + 2) {
        PyErr_SetString(PyExc_TypeError, "Hit takes 18 arguments");
        return -1;
    }
    for (size_t i = 0; i < number; i++)
        *fields[i] = Py_NewRef(PyTuple_GET_ITEM(args, i));
    self->max_age = PyFloat_AsDouble(PyTuple_GET_ITEM(args, number));
    self->arity = PyLong_AsSsize_t(PyTuple_GET_ITEM(args, number + 1));
    self->call = hit_call;
    return PyErr_Occurred() ? -1 : 0;
}

static PyMemberDef hit_members[] = {{"hits", T_LONGLONG, offsetof(Hit, hits), READONLY}, {NULL}};

static PyTypeObject HitType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "extension.Hit",
    .tp_basicsize = sizeof(Hit),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(Hit, call),
    .tp_call = PyVectorcall_Call,
    .tp_init = (initproc)hit_init,
    .tp_new = PyType_GenericNew,
    .tp_members = hit_members,
};

/* --- The module. */

/* hash_with(address): of XXH3_64bits_withSeed in the library that is loaded already. */
static PyObject *hash_with(PyObject *module, PyObject *address)
{
    xxh3 = (uint64_t(*)(const void *, size_t, uint64_t))PyLong_AsVoidPtr(address);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef methods[] = {{"hash_with", hash_with, METH_O}, {NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "extension", .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC PyInit_extension(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (!module || PyType_Ready(&LoadedType) < 0 || PyModule_AddType(module, &StorageType) < 0 ||
        PyModule_AddType(module, &HitType) < 0)
        return NULL;
    return module;
}
