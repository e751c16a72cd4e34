# Ends whatever listens on a TCP port of Windows: .\kill-port.ps1 [-Port 3001]
param([ValidateRange(1, 65535)][int]$Port = 3001)

$ErrorActionPreference = 'Stop'

$owners = @(Get-NetTCPConnection -LocalPort $Port -State Listen -ErrorAction SilentlyContinue |
    Select-Object -ExpandProperty OwningProcess -Unique)
if ($owners.Count -eq 0) {
    Write-Output "Nothing listens on port $Port."
    exit 0
}

$failed = $false
foreach ($owner in $owners) {
    $name = (Get-Process -Id $owner -ErrorAction SilentlyContinue).ProcessName
    try {
        Stop-Process -Id $owner -Force
        Write-Output "Ended $name (pid $owner)."
    } catch {
        $failed = $true
        Write-Warning "$name (pid $owner) cannot be ended by this user: $($_.Exception.Message)"
    }
}
exit [int]$failed
