# Runs sparsedisk on a real Windows and says what is as expected: docs/windows-manual-test.md explains each line.
# As administrator, in the folder of sparsedisk.exe and sparsedisk.sys, on an NTFS volume with 4 GiB free.
$ErrorActionPreference = 'Stop'
$program = Join-Path (Get-Location) 'sparsedisk.exe'
$folder = Join-Path (Get-Location) ('manual-test-' + (Get-Date -Format 'yyyyMMdd-HHmmss'))
$letter = (83..90 | ForEach-Object { [char]$_ } | Where-Object { -not (Test-Path "${_}:\") } | Select-Object -First 1)
$drive = "${letter}:"
$script:good = 0
$script:all = 0
$mib = 1MB

function Step([string] $name, [scriptblock] $body) {
    $script:all++
    try {
        $what = & $body
        $script:good++
        Write-Host ("ok        {0}: {1}" -f $name, ($what -join '; '))
    } catch {
        Write-Host ("DIFFERENT {0}: {1}" -f $name, $_)
    }
}
function Expect([bool] $fact, [string] $otherwise) { if (-not $fact) { throw $otherwise } }
# Runs the program; throws unless it ends with the code that was expected.
function Disk([int] $code, [string[]] $words) {
    $ErrorActionPreference = 'Continue'
    $said = & $program @words 2>&1 | ForEach-Object { "$_" }
    $ended = $LASTEXITCODE
    $ErrorActionPreference = 'Stop'
    Expect ($ended -eq $code) ("sparsedisk $words ended with $ended and not $code`: $said")
    return $said
}
function Json([string[]] $words) { return (Disk 0 ($words + '--json')) -join "`n" | ConvertFrom-Json }
function OnDisk([string] $image) { return (Json @('info', $image)).allocated_bytes }
function Pattern([string] $path, [int] $bytes, [int] $seed) {
    $data = New-Object byte[] $bytes
    (New-Object Random $seed).NextBytes($data)
    [IO.File]::WriteAllBytes($path, $data)
}

New-Item -ItemType Directory $folder | Out-Null
$image = Join-Path $folder 'disk.img'
$small = Join-Path $folder 'small.img'
try {
    Step 'create' {
        Disk 0 @('create', $image, '--size', '1GiB') | Out-Null
        $info = Json @('info', $image)
        Expect ($info.apparent_bytes -eq 1GB) "apparent $($info.apparent_bytes)"
        Expect ($info.allocated_bytes -le 1MB) "on disk $($info.allocated_bytes)"
        Expect ($info.sparse.marked) 'the sparse flag is not set'
        "apparent $($info.apparent_bytes), on disk $($info.allocated_bytes)"
    }
    Step 'fsutil agrees' {
        $flag = fsutil sparse queryflag $image
        $ranges = @(fsutil sparse queryrange $image | Where-Object { $_ -match '0x' }).Count
        $data = @((Json @('map', $image)).extents | Where-Object { $_.kind -ne 'hole' }).Count
        Expect ($ranges -eq $data) "fsutil lists $ranges ranges, map $data"
        "$flag; $data ranges"
    }
    Step 'punch' {
        Pattern $small (4 * $mib) 1
        Disk 0 @('sparse', 'set', $small) | Out-Null
        $full = OnDisk $small
        Disk 0 @('punch', $small, '--offset', '1MiB', '--length', '4096') | Out-Null
        $page = OnDisk $small
        Disk 0 @('punch', $small, '--offset', '2MiB', '--length', '64KiB') | Out-Null
        $unit = OnDisk $small
        Expect ($full -eq $page) "4 KiB changed the allocation from $full to $page"
        Expect ($page - $unit -eq 65536) "64 KiB changed the allocation from $page to $unit"
        $bytes = [IO.File]::ReadAllBytes($small)
        Expect (-not ($bytes[(1 * $mib)..(1 * $mib + 4095)] | Where-Object { $_ })) 'the 4 KiB do not read as zero'
        "$full, $page, $unit"
    }
    Step 'clear and set' {
        $file = Join-Path $folder 'flag.img'
        Disk 0 @('create', $file, '--size', '64MiB') | Out-Null
        Disk 0 @('sparse', 'clear', $file) | Out-Null
        $dense = OnDisk $file
        Disk 0 @('sparse', 'set', $file) | Out-Null
        Disk 0 @('trim', $file) | Out-Null
        $sparse = OnDisk $file
        Expect ($dense -ge 64MB -and $sparse -le 1MB) "dense $dense, sparse $sparse"
        "$dense, $sparse"
    }
    Step 'copy' {
        $copy = Join-Path $folder 'copy.img'
        Set-Content -Path $small -Stream note -Value 'beside'
        Disk 0 @('copy', $small, $copy) | Out-Null
        Expect ((Get-FileHash $small).Hash -eq (Get-FileHash $copy).Hash) 'the content differs'
        Expect ((Get-Content -Path $copy -Stream note) -eq 'beside') 'the alternate stream is missing'
        Expect ((OnDisk $copy) -le (OnDisk $small)) 'holes were filled'
        "on disk $(OnDisk $copy)"
    }
    Step 'compressed is refused' {
        $packed = Join-Path $folder 'packed.img'
        Pattern $packed $mib 2
        compact /c $packed | Out-Null
        (Disk 3 @('punch', $packed, '--offset', '0', '--length', '64KiB')) | Select-Object -First 1
    }
    Step 'attach' {
        Disk 0 @('attach', $image, '--letter', $drive) | Out-Null
        Disk 0 @('driver', 'status')
    }
    Step 'guarded' {
        $name = 'sdtest' + (Get-Random -Maximum 9999)
        $word = 'T3st!' + [Guid]::NewGuid().ToString('N').Substring(0, 12)
        net user $name $word /add | Out-Null
        try {
            $secret = New-Object Management.Automation.PSCredential $name, (ConvertTo-SecureString $word -AsPlainText -Force)
            $answer = Join-Path $env:PUBLIC 'sparsedisk-answer.txt'
            $script = Join-Path $env:PUBLIC 'sparsedisk-try.ps1'
            # .NET Framework opens no device by its path: the call itself.
            Set-Content $script @"
Add-Type -Namespace Try -Name Kernel -MemberDefinition '[DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)] public static extern IntPtr CreateFileW(string name, uint access, uint share, IntPtr security, uint creation, uint flags, IntPtr template);'
`$handle = [Try.Kernel]::CreateFileW('\\.\SparseDiskControl', 3221225472, 3, [IntPtr]::Zero, 3, 0, [IntPtr]::Zero)
"`$handle error `$([Runtime.InteropServices.Marshal]::GetLastWin32Error())" | Out-File '$answer'
"@
            Start-Process powershell -Credential $secret -WorkingDirectory $env:PUBLIC -Wait -ArgumentList "-NoProfile -ExecutionPolicy Bypass -File `"$script`""
            $said = Get-Content $answer
            Remove-Item $answer, $script
            Expect ($said -match '^-1 error 5$') "it said: $said"
            $said
        } finally { net user $name /delete | Out-Null }
    }
    Step 'mount manager' {
        $volume = (mountvol "$drive\" /L 2>&1)
        Expect ("$volume" -match 'Volume\{') "mountvol says: $volume"
        "$volume".Trim()
    }
    Step 'format by Windows' {
        cmd /c "echo Y| format $drive /FS:FAT32 /Q /V:TEST" | Out-Null
        Expect ((Get-Volume -DriveLetter $letter).FileSystem -eq 'FAT32') 'it is not FAT32'
        'FAT32'
    }
    Step 'files' {
        1..20 | ForEach-Object { Pattern "$drive\file$_.bin" (10 * $mib) $_ }
        $before = (Get-ChildItem "$drive\*.bin" | Get-FileHash).Hash -join ''
        Disk 0 @('detach', $drive) | Out-Null
        Disk 0 @('attach', $image, '--letter', $drive) | Out-Null
        $after = (Get-ChildItem "$drive\*.bin" | Get-FileHash).Hash -join ''
        Expect ($before -eq $after) 'the hashes differ'
        "on disk $(OnDisk $image)"
    }
    Step 'chkdsk' {
        $said = chkdsk $drive
        Expect ($LASTEXITCODE -eq 0) ($said -join ' ')
        'clean'
    }
    Step 'zero detection' {
        $before = OnDisk $image
        [IO.File]::WriteAllBytes("$drive\zeroes.bin", (New-Object byte[] (100 * $mib)))
        Write-VolumeCache -DriveLetter $letter
        $grown = (OnDisk $image) - $before
        Expect ($grown -lt 2MB) "it grew by $grown"
        "grown by $grown"
    }
    Step 'deleted files come back' {
        Remove-Item "$drive\file*.bin", "$drive\zeroes.bin" -Exclude 'file1.bin'
        Disk 0 @('detach', $drive) | Out-Null
        $before = OnDisk $image
        Disk 0 @('trim', $image) | Out-Null
        $after = OnDisk $image
        Expect ($after -lt 16MB) "$before, then $after"
        "$before, then $after"
    }
    Step 'ntfs trims itself' {
        Disk 0 @('attach', $image, '--letter', $drive) | Out-Null
        cmd /c "echo Y| format $drive /FS:NTFS /Q /V:TEST" | Out-Null
        Pattern "$drive\big.bin" (200 * $mib) 5
        Write-VolumeCache -DriveLetter $letter
        $full = OnDisk $image
        Remove-Item "$drive\big.bin"
        Optimize-Volume -DriveLetter $letter -ReTrim
        $after = OnDisk $image
        Expect ($full - $after -gt 150MB) "$full, then $after"
        "$full, then $after"
    }
    Step 'in use' {
        $open = [IO.File]::Open("$drive\open.txt", 'Create')
        try { Disk 3 @('detach', $drive) | Out-Null } finally { $open.Close() }
        $open = [IO.File]::Open("$drive\open.txt", 'Create')
        try { Disk 0 @('detach', $drive, '--force') | Out-Null } finally { try { $open.Close() } catch { } }
        'refused, then forced'
    }
    Step 'floor' {
        Disk 0 @('attach', $image, '--letter', $drive) | Out-Null
        Pattern "$drive\there.bin" $mib 6
        Write-VolumeCache -DriveLetter $letter
        Disk 0 @('detach', $drive) | Out-Null
        $free = (Get-PSDrive (Split-Path $image -Qualifier).TrimEnd(':')).Free
        Disk 0 @('attach', $image, '--letter', $drive, '--keep-free', "$($free + 1GB)") | Out-Null
        $refused = $false
        try {
            Pattern "$drive\new.bin" (200 * $mib) 7
            Write-VolumeCache -DriveLetter $letter
        } catch { $refused = $true }
        $stream = [IO.File]::OpenWrite("$drive\there.bin")
        $stream.WriteByte(1)
        $stream.Flush($true)
        $stream.Close()
        Disk 0 @('detach', $drive, '--force') | Out-Null
        Expect $refused 'the new file was written'
        'refused, and the old one overwritten'
    }
    Step 'stop' {
        Disk 0 @('attach', $image, '--letter', $drive) | Out-Null
        Disk 3 @('driver', 'stop') | Out-Null
        Disk 0 @('detach', $drive) | Out-Null
        Disk 0 @('driver', 'stop') | Out-Null
        Disk 0 @('driver', 'remove') | Out-Null
        'refused while attached, stopped, removed'
    }
} finally {
    & $program detach $drive --force 2>&1 | Out-Null
    Remove-Item -Recurse -Force $folder
}
Write-Host "$script:good of $script:all as expected"
if ($script:good -ne $script:all) { exit 1 }
