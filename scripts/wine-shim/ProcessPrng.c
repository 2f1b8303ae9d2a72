/*
 * bcryptprimitives.dll for Wine 8, which has none: Rust's standard library imports ProcessPrng from it and would not start.
 * Wine's advapi32 draws the same random bytes under its old name. For tests only; nothing of it is part of the program.
 */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T length)
{
    while (length > 0) {
        ULONG part = length > 0x10000 ? 0x10000 : (ULONG)length;
        if (!SystemFunction036(buffer, part))
            return FALSE;
        buffer += part;
        length -= part;
    }
    return TRUE;
}
